"""Train a detector or segmenter from a config.

convnext-dense train NAME --data-root data/coco
convnext-dense train mine.py --work-dir work_dirs/mine --resume
convnext-dense train fruit/config.py --batch auto --log tensorboard
convnext-dense train mine.py --gpus 8 --restarts 3
"""
import argparse

from convnext_dense.commands.batch_option import set_batch
from convnext_dense.commands.launching import add_launch_options, launch, was_restarted
from convnext_dense.commands.options import add_config_options, build_runner, prepare_config
from convnext_dense.errors import InputError

LOGS = ('tensorboard', 'wandb', 'mlflow')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', nargs='?', default='config.py',
                        help='config file (default: config.py of this folder)')
    add_config_options(parser)
    add_launch_options(parser)
    parser.add_argument('--resume', nargs='?', const='auto', help='go on from this checkpoint, or '
                        'without a value from the newest whole one in the work directory')
    parser.add_argument('--init-from', metavar='SOURCE', help='start from a file, URL or name of '
                        'published weights: what fits is loaded, rows of classes by their names')
    parser.add_argument('--init-classes', nargs='+', metavar='NAME', help='the class names of '
                        'SOURCE, where it does not name them (or one file with a name a line)')
    parser.add_argument('--init-prefix', metavar='PREFIX', help='take the tensors of SOURCE under '
                        'this prefix, such as teacher')
    parser.add_argument('--freeze', nargs='+', metavar='PART', help='parts of the model that do '
                        'not train, such as: backbone neck')
    parser.add_argument('--batch', metavar='N|auto', help='images a step (auto: the most that fit '
                        'into the memory); learning rate and number of steps follow')
    parser.add_argument('--log', nargs='+', choices=LOGS, default=[], help='write the curves there '
                        'as well')
    parser.add_argument('--amp', action='store_true', help='train with mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the lr to the real batch size')


def run(args: argparse.Namespace) -> None:
    launch(args, args.argv)
    if was_restarted() and not args.resume:
        args.resume = 'auto'
    if args.batch == 'auto' and args.resume:
        raise InputError('--batch auto with --resume: give the number that the run began with')
    cfg, device = prepare_config(args)
    from convnext_dense.checks.preflight import check_config
    from convnext_dense.config import enable_amp, enable_auto_scale_lr, set_device, set_init_from
    from convnext_dense.runtime.log_backends import add_log_backends
    if args.amp:
        enable_amp(cfg)
        set_device(cfg, device)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    set_init_from(cfg, args.init_from, args.init_classes, args.init_prefix)
    if args.freeze:
        cfg['freeze'] = args.freeze  # mmengine's configs have a method of that name
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    add_log_backends(cfg, args.log)
    if args.batch not in (None, 'auto'):
        set_batch(cfg, args.batch, device, scale_lr=not args.auto_scale_lr)
    check_config(cfg, training=True)
    if args.batch == 'auto':  # the trial takes what was checked
        set_batch(cfg, args.batch, device, scale_lr=not args.auto_scale_lr)
    build_runner(cfg).train()
