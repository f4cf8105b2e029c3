"""Memory, communication and time of a training on many GPUs, before any of them is rented.

Nothing is trained: shapes and arithmetic. The share of a GPU's peak that a model reaches is an
assumption (--utilization): take it from a short run.

convnext-dense plan upernet_convnextv2-h_8xb2-160k_ade20k-512x512 --gpus 64 --gpu h100 --link 400Gb
convnext-dense plan mine.py --gpus 8 --gpu a100 --images 118287
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or its name')
    parser.add_argument('--gpus', type=int, default=8, metavar='N', help='GPUs in all, one a '
                        'process (default: %(default)s)')
    parser.add_argument('--gpu', default='h100', help='kind of GPU (default: %(default)s)')
    parser.add_argument('--per-machine', type=int, default=8, metavar='N',
                        help='GPUs of a machine (default: %(default)s)')
    parser.add_argument('--link', default='400Gb', metavar='BANDWIDTH', help='what each GPU can '
                        'send to other machines in a second, in bits (400Gb) or bytes (50GB) '
                        '(default: %(default)s)')
    parser.add_argument('--utilization', type=float, default=.3, metavar='SHARE', help='share of '
                        'the peak that the operations reach (default: %(default)s)')
    parser.add_argument('--images', type=int, metavar='N', help='images of the training set, where '
                        'the schedule counts epochs')
    parser.add_argument('--size', metavar='WxH', help='of the largest training image (default: '
                        "the pipeline's)")
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings, as for train')


def run(args: argparse.Namespace) -> None:
    from convnext_dense.analysis.gpus import bytes_a_second, gpu_named
    from convnext_dense.errors import InputError
    gpu, link = gpu_named(args.gpu), bytes_a_second(args.link)
    for name in ('gpus', 'per_machine', 'images'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f'--{name.replace("_", "-")} {getattr(args, name)}: give a number '
                             'from 1 on')
    if not 0 < args.utilization <= 1:
        raise InputError(f'--utilization {args.utilization}: give a share above 0, up to 1')
    import contextlib
    import sys

    from mmengine.logging import MMLogger

    from convnext_dense.analysis.config_sheet import render, training_pipeline
    from convnext_dense.analysis.plan import Cluster, plan_sheet
    from convnext_dense.analysis.sizes import parse_size
    from convnext_dense.analysis.training_memory import training_size
    from convnext_dense.commands.options import parse_overrides
    from convnext_dense.config import load_config
    MMLogger.get_current_instance().setLevel('WARNING')
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    if not isinstance((cfg.get('train_dataloader') or {}).get('batch_size'), int):
        raise InputError(f'{args.config} has no train_dataloader.batch_size to plan with')
    size = parse_size(args.size) if args.size else training_size(training_pipeline(cfg))
    if size is None:
        raise InputError('no step of the training pipeline sets a size; give --size WxH')
    with contextlib.redirect_stdout(sys.stderr):  # libraries print while they are imported
        sheet = plan_sheet(cfg, size, Cluster(args.gpu, gpu, args.gpus, args.per_machine, link,
                                              args.utilization), args.images)
    print(f'{args.config} on {args.gpus} x {args.gpu}, {args.utilization:.0%} of the peak\n'
          f'{render(sheet)}')
