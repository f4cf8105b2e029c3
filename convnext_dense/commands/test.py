"""Evaluate a detector or segmenter: COCO AP, or mIoU.

convnext-dense test NAME WEIGHTS --data-root data/coco
convnext-dense test mine.py work_dirs/mine/epoch_36.pth --tta --show-dir shown
"""
import argparse
import time

from convnext_dense.commands.options import (
    add_config_options,
    build_runner,
    export_hint,
    prepare_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='weights: a path, URL or zoo name of any known format')
    add_config_options(parser)
    parser.add_argument('--out', help='keep the predictions: NAME.pkl for a detector, a folder '
                        'of label maps for a segmenter')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='draw predictions into this folder')
    parser.add_argument('--wait-time', type=float, default=2, metavar='SECONDS',
                        help='how long --show shows an image')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16 where the GPU or '
                        'CPU is faster in it')
    parser.add_argument('--tta', action='store_true',
                        help="use the config's test-time augmentation")


def run(args: argparse.Namespace) -> None:
    cfg, device = prepare_config(args)
    from convnext_dense.checks.preflight import check_config
    from convnext_dense.config import enable_amp_tests, enable_images, enable_tta, keep_predictions
    cfg.load_from, cfg.resume = args.checkpoint, False  # the config may be that of a resumed run
    cfg.lora = None  # weights are read with their adapters merged
    if args.amp:
        enable_amp_tests(cfg, device)
    if args.show or args.show_dir:
        enable_images(cfg, args.show, args.show_dir, args.wait_time)
    check_config(cfg, training=False)
    if args.tta:
        enable_tta(cfg)
    if args.out:
        keep_predictions(cfg, args.out)
    runner = build_runner(cfg)
    start = time.monotonic()
    runner.test()
    hint = export_hint(args.checkpoint, device, time.monotonic() - start)
    if hint:
        runner.logger.info(hint)
