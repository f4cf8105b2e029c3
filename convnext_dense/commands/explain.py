"""Print a resolved config as a short sheet.

Model, data, augmentation, schedule, learning rates, batch, and an estimate of the memory. Nothing
is trained or loaded: a large model takes seconds.

convnext-dense explain fruit/config.py
convnext-dense explain upernet_convnext-t_8xb2-amp-160k_ade20k-512x512 --device cpu --json
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from convnext_dense.commands.options import add_data_root
    parser.add_argument('config', nargs='?', default='config.py',
                        help='config file (default: config.py of this folder)')
    add_data_root(parser)
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings, as for train')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='where it would be trained: the '
                        'config is fitted to it (default: cuda where there is one)')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> None:
    import contextlib
    import json
    import sys

    import torch
    from mmengine.logging import MMLogger

    from convnext_dense.commands.options import parse_overrides
    from convnext_dense.config import load_config, set_data_root, set_device
    MMLogger.get_current_instance().setLevel('WARNING')  # the sheet says it
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    if args.data_root:
        set_data_root(cfg, args.data_root)
    on_gpu = torch.cuda.is_available()
    if on_gpu or args.device != 'cuda':  # for a GPU that is elsewhere the config stays as it is
        set_device(cfg, args.device or ('cuda' if on_gpu else 'cpu'))
    from convnext_dense.analysis.config_sheet import config_sheet, render
    with contextlib.redirect_stdout(sys.stderr):  # libraries print while they are imported
        sheet = config_sheet(cfg)
    print(json.dumps(sheet, indent=1) if args.json else render(sheet))
