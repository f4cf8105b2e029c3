"""Check the data sets of a config before training: every image, annotation and label map.

Exit status: 0 when training can start, 1 when something stops it, 2 when the config is unusable.

convnext-dense check-data mine.py --data-root data/pets
convnext-dense check-data mine.py --fast
"""
import argparse

from convnext_dense.commands.options import (
    add_data_root,
    add_label_values,
    parse_label_values,
    parse_overrides,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file')
    add_data_root(parser)
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings')
    add_label_values(parser)
    parser.add_argument('--out', help='folder for report.json and samples.jpg '
                        '(default: work_dirs/<name of the config>/data_check)')
    parser.add_argument('--samples', type=int, default=12,
                        help='random images of each data set on the sheet; 0 draws none')
    parser.add_argument('--seed', type=int, default=0, help='chooses the random images')
    parser.add_argument('--workers', type=int, help='processes (default: one a CPU, 8 at most)')
    parser.add_argument('--fast', action='store_true',
                        help='only what train.py checks by itself: a sample, in seconds')


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from convnext_dense.checks.audit_config import audit, summary, write_report
    from convnext_dense.config import load_config, set_data_root, set_label_values
    from convnext_dense.cores import core_count
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.label_values:
        set_label_values(cfg, parse_label_values(args.label_values))
    if args.fast:
        from convnext_dense.checks.preflight import check_config
        cfg.work_dir = None  # nothing is written there
        check_config(cfg, training=True)
        check_config(cfg, training=False)
        print('the fast check found nothing that stops training')
        return 0
    workers = args.workers or min(core_count(), 8)
    reports, config_findings, notes = audit(cfg, workers)
    out = Path(args.out or Path('work_dirs') / Path(cfg.filename).stem / 'data_check')
    files = write_report(out, reports, config_findings, notes, args.samples, args.seed)
    lines, good = summary(reports, config_findings, notes)
    print('\n'.join(lines))
    for path in files:
        print(f'wrote {path}')
    print('training can start' if good else 'training cannot start: correct the errors first')
    return 0 if good else 1
