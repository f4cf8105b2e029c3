"""Check the data sets of a config before training: every image, annotation and label map.

Exit status: 0 when training can start, 1 when something stops it, 2 when the config is unusable.

convnext-dense check-data mine.py --data-root data/pets
convnext-dense check-data mine.py --fast
"""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from convnext_dense.commands.options import (
    add_data_root,
    add_label_values,
    parse_label_values,
    parse_overrides,
)

if TYPE_CHECKING:
    from mmengine.config import Config

    from convnext_dense.checks.findings import Findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file')
    add_data_root(parser)
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings')
    add_label_values(parser)
    parser.add_argument('--out', help='folder for report.json and samples.jpg '
                        "(default: data_check in the config's work_dir, or in "
                        'work_dirs/<name of the config>)')
    parser.add_argument('--samples', type=int, default=12,
                        help='random images of each data set on the sheet; 0 draws none')
    parser.add_argument('--seed', type=int, default=0, help='chooses the random images')
    parser.add_argument('--workers', type=int, help='processes (default: one a CPU, 8 at most)')
    parser.add_argument('--no-trial', dest='trial', action='store_false',
                        help='do not run the model on a batch of each data set')
    parser.add_argument('--fast', action='store_true',
                        help='only what train.py checks by itself: a sample, in seconds')


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from convnext_dense.checks.audit_config import summary, write_report
    from convnext_dense.checks.top_level import check_top_level
    from convnext_dense.config import load_config, set_data_root, set_label_values, set_work_dir
    from convnext_dense.cores import core_count
    from convnext_dense.errors import printable
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    if args.data_root or args.label_values:
        check_top_level(cfg)  # what they change is there
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
    reports, config_findings, notes = full_check(cfg, workers, trial=args.trial)
    set_work_dir(cfg, None)
    out = Path(args.out or Path(cfg.work_dir) / 'data_check')
    files = write_report(out, reports, config_findings, notes, args.samples, args.seed)
    lines, good = summary(reports, config_findings, notes)
    print('\n'.join(map(printable, lines)))
    for path in files:
        print(f'wrote {path}')
    print('training can start' if good else 'training cannot start: correct the errors first')
    return 0 if good else 1


def full_check(cfg: Config, workers: int = 1, progress: bool = True,
               trial: bool = True) -> tuple[list, Findings, list[str]]:
    """The audit of a config, and a batch of each data set through the model.

    Args:
        cfg: the config.
        workers: processes.
        progress: show progress bars on stderr.
        trial: try the model where the audit found no error.

    Returns:
        tuple: as of :func:`convnext_dense.checks.audit_config.audit`.
    """
    import copy

    from convnext_dense.checks.audit import errors
    from convnext_dense.checks.audit_config import audit
    from convnext_dense.checks.findings import ERROR
    from convnext_dense.commands.options import build_runner, choose_device
    from convnext_dense.config import set_device
    from convnext_dense.errors import InputError
    from convnext_dense.runtime.trial import try_batches
    reports, findings, notes = audit(cfg, workers, progress)
    if trial and not errors(reports) + findings.count(ERROR):
        try:
            cfg = copy.deepcopy(cfg)
            set_device(cfg, choose_device(None))
            try_batches(cfg, build_runner)
        except InputError as error:
            findings.add('config', str(error))
    elif trial:
        notes.append('the model was not tried: correct the errors first')
    return reports, findings, notes
