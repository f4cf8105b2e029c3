"""Speed and memory of several models, measured in turns, by stage.

Prints a Markdown table and writes JSON, which `compare` reads. Without --weights the models
have random weights, and two-stage detectors hand 2000 candidates an image to NMS.

convnext-dense benchmark mine.py theirs.py --mode both --out speed.json
convnext-dense benchmark mine.py --size 512x512 --batch 2 --device cpu --threads 2
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.analysis.sizes import parse_size
from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

    from convnext_dense.analysis.benchmark import Candidate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files')
    parser.add_argument('--mode', choices=['inference', 'training', 'both'], default='inference')
    parser.add_argument('--size', metavar='WxH', help='image size in pixels, as the network '
                        'sees it (default: the size that `complexity` counts at)')
    parser.add_argument('--batch', type=int, default=1, help='images a step '
                        '(default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=20, help='measured steps of each model '
                        '(default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before that '
                        '(default: %(default)s)')
    parser.add_argument('--precision', choices=['fp32', 'fp16', 'bf16'], default='fp32')
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--plain', action='store_true', help='the layers as they are, as with '
                     'acceleration=False (default: prepared as train and test do it)')
    how.add_argument('--compile', action='store_true', help='torch.compile backbone and neck')
    parser.add_argument('--weights', nargs='+', metavar='FILE',
                        help='weights, one a config (default: random)')
    parser.add_argument('--dataset', action='store_true', help="time on the config's test (or "
                        'training) data set: reading and transforms count as data, --size and '
                        'nothing random')
    parser.add_argument('--device', help='cpu, cuda or cuda:N (default: cuda where there is one)')
    parser.add_argument('--threads', type=int, help="torch's threads on a CPU")
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings of every config')
    parser.add_argument('--out', metavar='FILE', help='write the results to this JSON file')


def run(args: argparse.Namespace) -> None:
    for name in ('batch', 'rounds'):
        if getattr(args, name) < 1:
            raise InputError(f'--{name} {getattr(args, name)}: give a number from 1 on')
    if args.weights and len(args.weights) != len(args.configs):
        raise InputError(f'--weights names {len(args.weights)} files for {len(args.configs)} '
                         'configs; give one a config, in their order')
    if args.dataset and args.size:
        raise InputError('--dataset takes the size from the config; leave out --size')
    size = parse_size(args.size) if args.size else None
    from convnext_dense.commands.options import choose_device
    device = choose_device(args.device)
    import torch
    if args.threads:
        torch.set_num_threads(args.threads)
    from convnext_dense.analysis.benchmark import benchmark, render
    from convnext_dense.analysis.machine import describe_machine
    machine = describe_machine(device)
    modes = ['inference', 'training'] if args.mode == 'both' else [args.mode]
    results = []
    for mode in modes:
        candidates = build_candidates(args, mode == 'training', device, size)
        results += benchmark(candidates, args.rounds, args.warmup,
                             lambda line: print(line, file=sys.stderr))
        del candidates
    print(render(results))
    if args.out:
        options = {name: getattr(args, name) for name in (
            'size', 'batch', 'rounds', 'warmup', 'precision', 'plain', 'compile',
            'weights', 'dataset', 'cfg_options')}
        Path(args.out).write_text(json.dumps(
            dict(machine=machine, options=options, models=results), indent=2) + '\n')


def build_candidates(args: argparse.Namespace, training: bool, device: str,
                     size: tuple[int, int] | None) -> list[Candidate]:
    """One candidate a config, named by the config file's stem."""
    from convnext_dense.analysis.benchmark import Candidate
    from convnext_dense.analysis.complexity import published_size
    from convnext_dense.commands.options import parse_overrides
    from convnext_dense.config import load_config
    candidates = []
    for index, path in enumerate(args.configs):
        cfg = load_config(path, parse_overrides(args.cfg_options))
        candidates.append(Candidate(
            Path(path).stem, cfg, size or published_size(cfg), args.batch, device,
            args.precision, acceleration_of(args), training,
            args.weights[index] if args.weights else None,
            batches(cfg, args.batch, training) if args.dataset else None))
    return candidates


def acceleration_of(args: argparse.Namespace) -> bool | dict | None:
    """What the options say of the config's ``acceleration``; None leaves it to the config."""
    if args.plain:
        return False
    return dict(compile=True) if args.compile else None


def batches(cfg: Config, batch: int, training: bool) -> Iterator[dict]:
    """Batches of the config's data set, for ever, read in this process."""
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS, init_default_scope
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg['train_dataloader' if training else 'test_dataloader'].dataset)

    def forever():
        index = 0
        while True:
            yield pseudo_collate([dataset[(index + i) % len(dataset)] for i in range(batch)])
            index += batch
    return forever()
