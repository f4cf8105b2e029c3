"""Parameters and multiply-adds of backbone, neck, heads and whole, beside the published figures.

Nothing is computed: the model is built of shapes only, so a large model takes a second.

convnext-dense complexity upernet_convnext-t_ade20k
convnext-dense complexity mine.py --size 640x480 --json cost.json
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.analysis.sizes import parse_size, published_figures
from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from convnext_dense.analysis.complexity import Complexity

COLUMNS = '{:<16}{:>12}{:>16}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files')
    parser.add_argument('--size', metavar='WxH', help='image size in pixels (default: the '
                        "papers': 1280x800 for detectors; for segmenters 4c x c, c the crop)")
    parser.add_argument('--proposals', type=int, default=1000, help='RoIs of each box head '
                        '(default: %(default)s)')
    parser.add_argument('--masks', type=int, default=100, help='RoIs of each mask head '
                        '(default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings of every config')
    parser.add_argument('--json', metavar='FILE', help='write the numbers to this file too')


def run(args: argparse.Namespace) -> None:
    size = parse_size(args.size) if args.size else None
    for name in ('proposals', 'masks'):
        if getattr(args, name) < 1:
            raise InputError(f'--{name} {getattr(args, name)}: give a number of RoIs from 1 on')
    from convnext_dense.analysis.complexity import build_on_meta, measure_complexity, published_size
    from convnext_dense.commands.options import parse_overrides
    from convnext_dense.config import load_config
    results = {}
    for path in args.configs:
        cfg = load_config(path, parse_overrides(args.cfg_options))
        complexity = measure_complexity(build_on_meta(cfg), size or published_size(cfg),
                                        args.proposals, args.masks)
        row = published_figures(cfg)
        print(f'{path}\n{render(complexity, row if size is None else None)}\n')
        results[path] = dict(complexity.to_dict(), published=row)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=2) + '\n')


def render(complexity: Complexity, row: dict | None = None) -> str:
    """A table of the parts, and the published figures below it.

    Args:
        complexity (Complexity): what was counted.
        row (dict, optional): the published row with ``params_M`` and ``flops_G``.
    """
    lines = [complexity.convention, COLUMNS.format('', 'parameters', 'multiply-adds')]
    for name, part in complexity.parts.items():
        lines.append(COLUMNS.format(name, f'{part.params / 1e6:.2f} M',
                                    f'{part.macs / 1e9:.2f} G'))
    total = complexity.total
    lines.append(COLUMNS.format('whole', f'{total.params / 1e6:.2f} M',
                                f'{total.macs / 1e9:.2f} G'))
    if row and (row.get('params_M') or row.get('flops_G')):
        params, flops = row.get('params_M'), row.get('flops_G')
        lines.append(COLUMNS.format('published', f'{params} M' if params else '-',
                                    f'{flops} G' if flops else '-'))
        lines.append(COLUMNS.format(
            'difference', f'{100 * (total.params / params / 1e6 - 1):+.2f} %' if params else '',
            f'{100 * (total.macs / flops / 1e9 - 1):+.2f} %' if flops else ''))
        if flops and abs(total.mmcv / 1e9 - flops) < abs(total.macs / 1e9 - flops):
            lines.append(f"the published figure leaves attention's products out, as mmcv's "
                         f'counter does: {total.mmcv / 1e9:.2f} G '
                         f'({100 * (total.mmcv / flops / 1e9 - 1):+.2f} %)')
    lines.append(f"by other conventions: {total.mmcv / 1e9:.2f} G by mmcv's counter (no products "
                 f'of attention: {total.attention / 1e9:.2f} G), {total.products / 1e9:.2f} G of '
                 'convolutions and matrix products alone')
    return '\n'.join(lines)
