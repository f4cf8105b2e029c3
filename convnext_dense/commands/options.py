"""The options that train and test share, and what they do to the machine and the config."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

LONG = 60.  # seconds of work on a CPU after which faster runtimes are named


def add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results '
                        '(default: work_dirs/<name of the config>)')
    add_data_root(parser)
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings, e.g. model.backbone.drop_path_rate=0.2')
    add_label_values(parser)
    parser.add_argument('--device', help='cpu, cuda or cuda:N (default: cuda where there is one)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='what started the processes of distributed work')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='set by the launcher')


def add_predictor_options(parser: argparse.ArgumentParser) -> None:
    """The options of a :class:`~convnext_dense.prediction.Predictor`."""
    parser.add_argument('--tile', type=int, metavar='PIXELS', help='look at large images in tiles '
                        'of this side, too, for small objects')
    parser.add_argument('--overlap', type=float, default=.2, metavar='SHARE',
                        help='share of a tile that neighbours have in common '
                        '(default: %(default)s)')
    parser.add_argument('--runtime', choices=('onnxruntime', 'openvino', 'torch', 'aotinductor'),
                        help='what computes an export (default: what it was made for)')
    parser.add_argument('--precision', choices=('float32', 'bf16'), default='float32',
                        help='bf16 needs, for an export, openvino (default: %(default)s)')
    parser.add_argument('--device', help='cpu, cuda or cuda:N (default: cuda where there is one)')


def export_hint(model: str, device: str, seconds: float) -> str | None:
    """A line on faster runtimes after long work on a CPU, or None.

    Args:
        model: what was worked with, as it was given.
        device: ``cpu`` or another one.
        seconds: that the work took.
    """
    if device != 'cpu' or seconds < LONG:
        return None
    return (f'other runtimes may be faster on this CPU: convnext-dense export {quote(model)} --to '
            'openvino measures them beside torch')


def add_label_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--label-values', metavar='VALUE=LABEL,...', help='of a segmenter: the '
                        'label of each value in the label maps, e.g. 0=0,255=1 for masks of 0 '
                        'and 255')


def parse_label_values(text: str) -> dict[int, int]:
    """``'0=0,255=1'`` as ``{0: 0, 255: 1}``."""
    try:
        return {int(value): int(label) for value, label in (
            pair.split('=') for pair in text.split(','))}
    except ValueError as error:
        raise InputError(f'--label-values {text}: write VALUE=LABEL,VALUE=LABEL with whole '
                         'numbers, such as 0=0,255=1') from error


def add_data_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data-root', action='append', metavar='[SPLIT=]DIR', help='folder of the '
                        'data set; moves the train, val and test sets and their evaluators '
                        'together, or with train=DIR, val=DIR or test=DIR one of them (repeatable)')


def choose_device(name: str | None, local_rank: int = 0) -> str:
    """Restrict the process to a device; call it before anything uses torch.

    Args:
        name (str | None): ``cpu``, ``cuda``, ``cuda:N`` or None (cuda where there is one). N counts
            the GPUs that CUDA_VISIBLE_DEVICES leaves, as torch does.

    Returns:
        str: ``cpu`` or ``cuda``.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    kind, _, index = (name or '').partition(':')
    if kind not in ('', 'cpu', 'cuda') or (index and not index.isdigit()):
        raise InputError(f'--device {name}: give cpu, cuda or cuda:N')
    if kind == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    elif index:
        os.environ['CUDA_VISIBLE_DEVICES'] = _visible_device(name, int(index))
    import torch
    available = torch.cuda.is_available()
    if kind == 'cuda' and not available:
        raise InputError(f'--device {name}: torch {torch.__version__} finds no such GPU here; '
                         'use --device cpu, or install the CUDA build of torch')
    return 'cuda' if available else 'cpu'


def _visible_device(name, index):
    """What CUDA_VISIBLE_DEVICES calls the GPU that torch would call ``cuda:index``."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return str(index)
    devices = [device.strip() for device in visible.split(',') if device.strip()]
    if index >= len(devices):
        raise InputError(f'--device {name}: CUDA_VISIBLE_DEVICES={visible} leaves '
                         f'{len(devices)} GPUs; they are counted from 0')
    return devices[index]


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """``['a.b=1', 'c=[1,2]']`` as a dict, values read as OpenMMLab's tools read them."""
    import argparse

    from mmengine.config import DictAction
    for pair in pairs:
        if '=' not in pair:
            raise InputError(f'--cfg-options {pair}: write KEY=VALUE without spaces around =')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction, default={})
    return parser.parse_args(['--options', *pairs]).options if pairs else {}


def prepare_config(args: argparse.Namespace) -> tuple[Config, str]:
    """The config that the options of :func:`add_config_options` describe."""
    device = choose_device(args.device, args.local_rank)
    from convnext_dense.checks.top_level import check_top_level
    from convnext_dense.config import (
        load_config,
        set_data_root,
        set_device,
        set_label_values,
        set_work_dir,
    )
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    check_top_level(cfg)
    cfg.launcher = args.launcher
    set_work_dir(cfg, args.work_dir)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.label_values:
        set_label_values(cfg, parse_label_values(args.label_values))
    set_device(cfg, device)
    return cfg, device


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names, or the toolkit's."""
    from mmengine.device import get_device

    from convnext_dense.commands.process import set_up_process
    from convnext_dense.registry import RUNNERS
    from convnext_dense.runtime import Runner
    set_up_process('cuda' if get_device() == 'cuda' else 'cpu')
    with convert_errors('the runner cannot be built from the config',
                        'correct the part that is named'):
        return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
