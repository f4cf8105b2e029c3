"""Compare models: published and measured figures, learning curves, accuracy against cost.

Give configs (.py), work directories of `train` and `test`, and files of `benchmark` (.json), in
any mix; or --data and --models, which are then trained alike. A model is known by its config's
name, or by yours: NAME=PATH. Several work directories of one name are its seeds; where there are
only work directories of one config, they are compared with each other. Writes report.html (opens
without network), report.md, comparison.json and the charts as PNG and SVG.

convnext-dense compare --demo
convnext-dense compare --data ~/fruit_photos --models convnext-t swin-t resnet-50 --seeds 3
convnext-dense compare ours=work_dirs/mine theirs=work_dirs/swin speed.json --out report
"""
from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.analysis.sizes import parse_size
from convnext_dense.commands import compare_data
from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from convnext_dense.analysis.disagreements import Disagreement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('paths', nargs='*', metavar='[NAME=]PATH',
                        help='configs, work directories and benchmark files')
    parser.add_argument('--demo', action='store_true', help='train ConvNeXt, Swin and ResNet '
                        'with three seeds each on the embedded data set, and compare them; goes on '
                        'where it was interrupted')
    parser.add_argument('--seed', type=int, default=0, help='of --demo and --data: tunes the '
                        'learning rates; those after it count (default: %(default)s)')
    parser.add_argument('--out', default='work_dirs/comparison', metavar='DIR',
                        help='folder for the report (default: %(default)s)')
    parser.add_argument('--title', default='Comparison', help='of the page')
    parser.add_argument('--size', metavar='WxH', help='image size for multiply-adds, in pixels '
                        "(default: the papers', or the benchmark's for unpublished models)")
    parser.add_argument('--resamples', type=int, default=1000,
                        help='of the images (default: %(default)s)')
    parser.add_argument('--wanted', type=float, default=1., metavar='POINTS', help='print how many '
                        'seeds an interval of so many points to each side takes (default: '
                        '%(default)g)')
    parser.add_argument('--no-static', action='store_true', help='leave out PNG and SVG')
    compare_data.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    if bool(args.demo) + bool(args.paths) + bool(args.data) != 1:
        raise InputError('compare: name configs or work directories, or give --demo alone, or '
                         '--data with --models')
    if args.models and not args.data:
        raise InputError('--models: give --data too, the images to train them on')
    if args.resamples < 100:
        raise InputError(f'--resamples {args.resamples}: give 100 or more; a 95 % interval needs '
                         'them')
    if not args.wanted > 0:
        raise InputError(f'--wanted {args.wanted:g}: give points of AP or mIoU above 0')
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise InputError('compare: plotly is not installed; pip install '
                         'convnext_dense[report]') from error
    from convnext_dense.checkpoints import read_safely_in_mmengine
    read_safely_in_mmengine()
    folder = Path(args.out)
    if args.data:
        study = compare_data.train_models(
            args, folder, lambda done, lines, size: update(args, done, lines, size))
        write(args, *study)
    elif args.demo:
        from convnext_dense.commands.compare_demo import SIZE, train_models
        size = args.size or SIZE
        study = train_models(
            folder, args.seed, lambda done, lines: update(args, done, lines, size))
        write(args, *study._replace(size=size))
    else:
        write(args, args.paths, [], args.size)
    print(Path(folder, 'report.md').read_text())
    page = Path(folder, 'report.html').resolve().as_uri()
    print(f'report: {page}', file=sys.stderr)
    if not args.paths and can_open_windows():
        webbrowser.open(page)


def update(args: argparse.Namespace, paths: Sequence[str], tuning: Sequence[str],
           size: str) -> None:
    """Write the page while trainings go on; one that cannot be written does not end them."""
    try:
        write(args, paths, tuning, size, static=False)
    except InputError as error:
        print(f'the page is as it was: {error}', file=sys.stderr)


def write(args: argparse.Namespace, paths: Sequence[str], tuning: Sequence[str],
          size: str | None, examples: Sequence[Disagreement] = (), static: bool = True) -> None:
    """Write the report of some models.

    Args:
        args: the command's options.
        paths (Sequence[str]): what is compared.
        tuning (Sequence[str]): what was tuned for whom, a line each.
        size (str | None): of the images that multiply-adds are counted on, ``WxH``.
        examples (Sequence[Disagreement]): images on which the models differ.
        static (bool): also draw PNG and SVG, unless ``--no-static`` says otherwise.
    """
    from convnext_dense.analysis.comparison import gather
    from convnext_dense.analysis.report import write_report
    models = gather(paths, parse_size(size) if size else None)
    with convert_errors(f'compare: the report of {", ".join(map(str, paths))}',
                        f'look at the file or setting, and whether {args.out} has space'):
        write_report(models, args.out, args.title, args.resamples, static and not args.no_static,
                     args.wanted, tuning, lambda line: print(line, file=sys.stderr), examples)


def can_open_windows() -> bool:
    """Whether somebody sits in front of this process, with a screen."""
    return sys.stdout.isatty() and (sys.platform == 'darwin' or any(
        name in os.environ for name in ('DISPLAY', 'WAYLAND_DISPLAY')))
