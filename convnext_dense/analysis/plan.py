"""A training of a config in many processes, as a sheet: memory, communication, time."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from convnext_dense.analysis.complexity import build_on_meta, measure_complexity
from convnext_dense.analysis.gpus import Gpu
from convnext_dense.analysis.scaling import (
    Job,
    Memory,
    Step,
    hiding_link,
    memory,
    sent_bytes,
    step,
)
from convnext_dense.analysis.training_memory import (
    MOMENTS,
    STRIDE,
    estimate_training_memory,
    sampled_rois,
)
from convnext_dense.config_device import is_mixed_precision
from convnext_dense.config_nodes import type_name
from convnext_dense.errors import InputError
from convnext_dense.optim.batch_scaling import described_batch, lr_factor, lr_rule
from convnext_dense.parallel import DdpSettings, FsdpSettings, parallel_settings
from convnext_dense.runtime.sharding import block_groups
from convnext_dense.runtime.trainable_hook import TrainableHook

GIB, DAY = 2**30, 86400
FULL = .92  # share of a GPU's memory that a training may take: libraries and fragments have theirs


class Cluster(NamedTuple):
    """Where a training runs.

    Attributes:
        name, gpu: of the GPUs.
        processes: one a GPU.
        machine: GPUs of a machine.
        link: bytes a second that each GPU can send to other machines.
        utilization: share of a GPU's peak that the model's operations reach.
    """
    name: str
    gpu: Gpu
    processes: int
    machine: int
    link: float
    utilization: float


def job_of(cfg: Config, size: tuple[int, int], batch: int, blocks: int = 3) -> Job:
    """What a process of a config's training does in a step.

    Args:
        cfg: an mmdet or mmseg config.
        size: height and width of the largest images in pixels.
        batch: images of a process.
        blocks: that FSDP gathers together.

    Raises:
        InputError: the model's operations cannot be counted.
    """
    model: Any = build_on_meta(cfg).train()
    TrainableHook(cfg.get('freeze'), cfg.get('lora')).apply(model)
    groups = [_parameters(*group) for group in block_groups(model.backbone, blocks)]
    whole = _parameters(model)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad) / whole
    height, width = (-(-side // STRIDE) * STRIDE for side in size)
    counted = measure_complexity(build_on_meta(cfg), (height, width), *sampled_rois(cfg))
    try:
        kept = estimate_training_memory(cfg, size, batch).kept
    except InputError:  # heads whose steps are not known from shapes
        kept = None
    averages = sum('EMAHook' in (type_name(hook) or '') for hook in cfg.get('custom_hooks') or ())
    return Job([*groups, whole - sum(groups)], trained, MOMENTS.get(_optimizer(cfg), 2),
               averages, kept, 2. * batch * counted.total.macs,
               2. * batch * recomputed_macs(model.backbone, height * width, counted),
               is_mixed_precision(cfg))


def recomputed_macs(backbone: Any, pixels: int, counted: Any) -> float:
    """Multiply-adds of a backbone's checkpointed blocks for an image.

    Args:
        backbone: its blocks say with ``with_cp`` whether they are checkpointed.
        pixels: of the image.
        counted: of the model, for backbones other than ConvNeXt, which are taken as a whole.
    """
    if not hasattr(backbone, 'feature_info'):
        some = any(getattr(module, 'with_cp', False) for module in backbone.modules())
        return counted.parts['backbone'].macs if some else 0.
    # of a block: two pointwise layers of four times the channels, a depthwise 7x7
    return sum(pixels / (4 * 2**stage)**2 * (8 * width**2 + 49 * width)
               for stage, width in enumerate(backbone.channels)
               for block in backbone.stages[stage] if block.with_cp)


def _optimizer(cfg):
    """Name of the optimizer's type."""
    return type_name((cfg.get('optim_wrapper') or {}).get('optimizer') or {}) or ''


def _parameters(*modules: nn.Module) -> int:
    return sum(one.numel() for module in modules for one in module.parameters())


def plan_sheet(cfg: Config, size: tuple[int, int], cluster: Cluster,
               images: int | None = None) -> dict[str, list[str]]:
    """Lines by topic on a training in a cluster, with DDP and with FSDP.

    Args:
        cfg: an mmdet or mmseg config; its ``parallel`` gives the settings of its own strategy.
        size: height and width of the largest images in pixels.
        cluster: where it runs.
        images: of the training set, for schedules that count epochs.
    """
    batch = cfg.train_dataloader.batch_size
    own = parallel_settings(cfg.get('parallel'))
    mixed = 'bfloat16' if is_mixed_precision(cfg) else None
    ddp = own if isinstance(own, DdpSettings) else DdpSettings()
    fsdp = own if isinstance(own, FsdpSettings) else FsdpSettings(param_dtype=mixed)
    strategies: dict[str, tuple[int, DdpSettings | FsdpSettings]] = {
        '1 process': (1, ddp), 'ddp': (cluster.processes, ddp),
        'fsdp': (cluster.processes, fsdp)}
    if cluster.processes == 1:
        del strategies['ddp'], strategies['fsdp']
    job = job_of(cfg, size, batch, fsdp.blocks)
    sheet = {'batch': [_batch(cfg, batch, size, cluster.processes)]}
    memories = {name: memory(job, *strategy) for name, strategy in strategies.items()}
    steps = {name: step(job, *strategy, cluster.gpu, cluster.link, cluster.machine,
                        cluster.utilization) for name, strategy in strategies.items()}
    sheet['GiB a process'] = list(_memory_table(memories, job.kept is None))
    room = FULL * cluster.gpu.memory
    sheet['GiB a process'].append(f'{cluster.name} has room for {room / GIB:.0f}' + ''.join(
        f'; {name} does not fit' for name, one in memories.items() if one.total > room))
    sheet['step'] = list(_step_table(steps))
    sheet['schedule'] = list(_days(cfg, steps, cluster.processes, images))
    if cluster.processes > 1:
        sheet['link'] = [_link(name, job, *strategies[name], steps[name], cluster)
                         for name in ('ddp', 'fsdp')]
        half = replace(ddp, bfloat16_gradients=not ddp.bfloat16_gradients)
        sheet['link'].append(
            f'ddp with bfloat16_gradients={half.bfloat16_gradients}: '
            f'{sent_bytes(job, cluster.processes, half) / 1e9:.2f} GB a step')
    return sheet


def _batch(cfg, batch, size, processes):
    accumulated = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    text = f'{described_batch(batch, processes, accumulated)}, of {size[1]}x{size[0]} pixels'
    auto = cfg.get('auto_scale_lr') or {}
    base, whole = auto.get('base_batch_size'), batch * processes * accumulated
    if base and base != whole:
        rule = lr_rule(_optimizer(cfg), auto.get('rule'))
        text += (f'; the learning rate is for {base}: --auto-scale-lr multiplies it by '
                 f'{lr_factor(whole, base, rule):.3g}')
    return text


def _memory_table(memories: dict[str, Memory], kept_unknown: bool) -> Iterator[str]:
    yield f'{"":<16}' + ''.join(f'{name:>12}' for name in memories)
    for part in (*next(iter(memories.values()))._fields, 'total'):
        unknown = kept_unknown and part in ('kept', 'total')
        yield f'{part:<16}' + ''.join(
            f'{"unknown" if unknown else format(getattr(one, part) / GIB, ".2f"):>12}'
            for one in memories.values())


def _step_table(steps: dict[str, Step]) -> Iterator[str]:
    yield f'{"":<16}' + ''.join(f'{name:>12}' for name in steps)
    for title, value in {
            'compute, ms': lambda one: f'{1e3 * one.compute:.1f}',
            'sent, GB': lambda one: f'{one.sent / 1e9:.2f}',
            'exchange, ms': lambda one: f'{1e3 * one.communication:.1f}',
            'not hidden, ms': lambda one: f'{1e3 * one.exposed:.1f}',
            'step, ms': lambda one: f'{1e3 * one.total:.1f}'}.items():
        yield f'{title:<16}' + ''.join(f'{value(one):>12}' for one in steps.values())


def _days(cfg: Any, steps: dict[str, Step], processes: int,
          images: int | None) -> Iterator[str]:
    train: Any = cfg.get('train_cfg') or {}
    batch = cfg.train_dataloader.batch_size
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    for name, one in steps.items():
        whole = batch * (1 if name == '1 process' else processes)
        if 'max_iters' in train:
            count, what = train.max_iters, f'{train.max_iters} steps'
            if base and base != whole:
                fewer = round(count * base / whole)
                what += f' {count * one.total / DAY:.3g} days; for as many images {fewer} steps'
                count = fewer
        elif images is None:
            yield (f'{train.get("max_epochs", "?")} epochs; give --images, of the training set, '
                   'for the days')
            return
        else:
            count = train.max_epochs * -(-images // whole)
            what = f'{train.max_epochs} epochs of {images} images'
        yield f'{name}: {what} {count * one.total / DAY:.3g} days'


def _link(name, job, processes, parallel, one, cluster):
    needed = hiding_link(job, processes, parallel, one.compute)
    text = f'{name}: all is hidden behind {8 * needed / 1e9:.3g} Gb/s a GPU'
    if processes > cluster.machine:
        text += f'; the link has {8 * cluster.link / 1e9:.3g}'
    return text
