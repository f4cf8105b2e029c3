"""``compare --data``: backbones trained alike on the user's own data, and compared.

Data, heads, image size, batch and schedule are what ``new`` chooses, once for all models.
"""
from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from convnext_dense.analysis.study import Study
from convnext_dense.commands import compare_study, compare_trained, demo
from convnext_dense.commands.options import choose_device
from convnext_dense.config import load_config
from convnext_dense.errors import InputError
from convnext_dense.planning.backbones import Backbone, backbone_named

#: times the learning rate that `new` would take
GRID = (1 / 3, 1, 3)
ROUNDS = 10  # of the timing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that stand beside ``--data``."""
    from convnext_dense.datasets.importers.names import FORMAT_NAMES
    group = parser.add_argument_group('your data', 'beside --data; --size is then the long side of '
                                      'the images that the models see, in pixels')
    group.add_argument('--data', metavar='SOURCE', help='train and compare --models on this folder '
                       'or zip of images and annotations, of any kind that `new` reads; goes on '
                       'where it was interrupted')
    group.add_argument('--models', nargs='+', metavar='NAME', help='backbones, such as convnext-t '
                       'swin-t resnet-50')
    group.add_argument('--seeds', type=int, default=3, metavar='N',
                       help='trainings of each model that count (default: %(default)s)')
    group.add_argument('--lrs', nargs='+', type=float, metavar='LR', help='learning rates that '
                       'each model tries once; one is not tuned (default: a third of, the same as '
                       'and three times what `new` takes)')
    group.add_argument('--iters', type=int, metavar='N', help='training steps, the same for all '
                       '(default: what `new` takes)')
    group.add_argument('--batch', type=int, metavar='N', help='images a step (default: what `new` '
                       'takes)')
    group.add_argument('--task', choices=('boxes', 'masks', 'labels'), help='boxes leaves masks '
                       'aside (default: what the annotations are)')
    group.add_argument('--weights', nargs='+', default=['auto'], metavar='auto|none|MODEL=SOURCE',
                       help="where backbones start: published ImageNet-1k weights where every "
                       'model has some that can be had, else nothing (auto); or for each a name, '
                       'path or URL')
    group.add_argument('--format', choices=FORMAT_NAMES, help='as in `new`')
    group.add_argument('--classes', metavar='NAMES', help='as in `new`')
    group.add_argument('--colours', nargs='+', metavar='NAME=R,G,B', help='as in `new`')
    group.add_argument('--device', choices=('cpu', 'cuda'),
                       help='default: cuda where there is one; one model a GPU')


def train_models(args: argparse.Namespace, folder: Path,
                 update: Callable) -> compare_trained.Compared:
    """Tune, train and time the models; says what it does.

    Args:
        args: the options of :func:`add_arguments`, ``seed`` and ``size``.
        folder (Path): gets ``project``, the data and its config as ``new`` makes them,
            ``configs`` with one for each model, their work directories and ``benchmark.json``.
        update (callable): gets the named work directories, the lines on the tuning and the size
            of the images after each training that counts.

    Raises:
        InputError: an option or data that cannot be.
    """
    from convnext_dense.planning import model_configs
    models = check_options(args)
    device = choose_device(args.device)
    weights = model_configs.choose_weights(models, args.weights, folder, demo.say)
    wanted = {key: getattr(args, key) for key in model_configs.KEPT}
    wanted['size'] = int(args.size) if args.size else None
    for line in model_configs.make_shared_project(folder, wanted, weights):
        demo.say(line)
    configs = model_configs.write_configs(folder, models, weights)
    base = load_config(folder / 'project' / 'config.py')
    size = '{}x{}'.format(*model_configs.image_size(folder))
    study = Study(configs, tuple(args.lrs or default_grid(base)),
                  tuple(range(args.seed + 1, args.seed + 1 + args.seeds)), args.seed)
    check_models(study, device)
    left = compare_study.unfinished(study, folder)
    if left:
        from convnext_dense.commands.compare_timing import estimate
        images = (model_configs.read_settings(folder) or {})['images']
        demo.say(estimate(study, device, left, images['val'])
                 + '; Ctrl-C stops, the same command goes on')
    paths, lines = compare_study.run_study(
        study, folder, None, device, lambda done, lines: update(done, lines, size))
    return compare_trained.compared(study, folder, None, device, paths, lines, size,
                                    base.train_dataloader.batch_size, ROUNDS)


def check_options(args: argparse.Namespace) -> list[Backbone]:
    """The models.

    Raises:
        InputError: an option that cannot be.
    """
    if not args.models or len(args.models) < 2:
        raise InputError('compare --data: name two models or more, such as --models convnext-t '
                         'swin-t')
    models = [backbone_named(name) for name in args.models]
    if len({model.name for model in models}) < len(models):
        raise InputError(f'--models {" ".join(args.models)}: one stands twice; name each once')
    if args.seeds < 1:
        raise InputError(f'--seeds {args.seeds}: give a number from 1 on; three or more allow a '
                         'verdict')
    lrs = args.lrs or ()
    if not all(0 < lr < 10 for lr in lrs) or len(set(lrs)) < len(lrs):
        raise InputError(f'--lrs {" ".join(f"{lr:g}" for lr in lrs)}: give different learning '
                         'rates above 0')
    if args.size is not None and not args.size.isdigit():
        raise InputError(f'--size {args.size}: with --data give the long side of the images in '
                         'pixels, one number')
    return models


def default_grid(cfg: Config) -> list[float]:
    """The learning rates that are tried: around that of the config that ``new`` writes."""
    lr = cfg.optim_wrapper.optimizer.lr
    return [float(f'{lr * factor:.2g}') for factor in GRID]


def check_models(study: Study, device: str) -> None:
    """Raise InputError where a config does not fit, before any training."""
    from convnext_dense.checks.preflight import check_config
    from convnext_dense.config import set_device
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
        for config in study.configs.values():
            cfg = load_config(config)
            set_device(cfg, device)
            check_config(cfg, training=True)
