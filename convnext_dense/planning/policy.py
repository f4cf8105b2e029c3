"""Which model, image size, batch, learning rate and schedule fit a data set and a machine.

Pure functions of the facts, with a reason in plain words for each choice.
"""
from __future__ import annotations

import math
from typing import NamedTuple

from convnext_dense.errors import InputError
from convnext_dense.planning.facts import DataFacts, Machine
from convnext_dense.wording import counted

VISIBLE = {'cpu': 40, 'gpu': 24}  # side in pixels that nine of ten objects should have
LONG_SIDE = {'cpu': (320, 448), 'gpu': (800, 1333)}  # least and most, where objects allow it
#: pixels of an image to segment on a CPU
CPU_PIXELS = 320 * 240
#: CPU: seconds of one core for the training step of a million pixels: masks and labels from a few
#: runs on a shared machine, boxes estimated
STEP_SECONDS = {'masks': 6., 'boxes': 5., 'labels': 6.}
#: GPU: GiB for a million pixels of a batch in mixed precision, and beside it
GPU_MEMORY = {'masks': 6., 'boxes': 5., 'labels': 7.5}
GPU_RESERVED = 2.
CPU_LR, GPU_LR = 2e-3, 1e-4
LR_BATCH = {'cpu': 4, 'gpu': 16}  # the batch size that these rates are for
LEAST_SIDE, MOST_SIDE = 64, 8192  # pixels that may be asked for


class Plan(NamedTuple):
    """The choices.

    Attributes:
        config: name of the package's config to derive from.
        arch: of the backbone.
        scale: long and short side in pixels that images are resized to fit.
        crop: (height, width) of training crops; None for detectors, which see whole images.
        batch: images a step.
        workers: processes that load images.
        lr: peak learning rate.
        max_iters: training steps.
        val_interval: steps between evaluations.
        weights: where the backbone starts: a name, a path, or None for nothing.
        minutes: estimated training time; None where there is no measured figure.
        reasons: ``{topic: why, in a sentence}``; topics are model, size, batch, lr, schedule and
            weights.
    """
    config: str
    arch: str
    scale: tuple[int, int]
    crop: tuple[int, int] | None
    batch: int
    workers: int
    lr: float
    max_iters: int
    val_interval: int
    weights: str | None
    minutes: float | None
    reasons: dict[str, str]


def usual_weights(machine: Machine) -> str:
    """The weights that a backbone on this machine would start from."""
    if machine.gpu is None:
        return 'convnextv2-atto_in1k'
    return f'convnext-{_gpu_arch(machine)}_in1k'


def make_plan(data: DataFacts, machine: Machine, weights: str | None = None,
              batch: int | None = None, size: int | None = None,
              max_iters: int | None = None) -> Plan:
    """Choose for a data set and a machine.

    Args:
        data: facts about the data set.
        machine: facts about the machine.
        weights: what the backbone can start from; None for nothing.
        batch: images a step, where they were asked for.
        size: long side of the resized images in pixels, where it was asked for.
        max_iters: training steps, where they were asked for.

    Raises:
        InputError: a batch, size or number of steps that cannot be.
    """
    _check_asked(data, batch, size, max_iters)
    kind = 'cpu' if machine.gpu is None else 'gpu'
    heads = {'masks': 'mask-rcnn', 'boxes': 'faster-rcnn', 'labels': 'upernet'}[data.task]
    arch = 'atto' if kind == 'cpu' else _gpu_arch(machine)
    backbone = 'convnextv2-atto' if kind == 'cpu' else 'convnext-t'
    scale, crop, why_size = _label_map_size(data, kind, size) if data.task == 'labels' else \
        _detector_size(data, kind, size)
    pixels = (crop[0] * crop[1] if crop else _resized_area(data, scale)) / 1e6
    batch, why_batch = (batch, f'{counted(batch, "image")} a step, as asked for') if batch else \
        _batch(data, machine, pixels)
    lr = float(f'{(CPU_LR if kind == "cpu" else GPU_LR) * (batch / LR_BATCH[kind])**.5:.2g}')
    if kind == 'cpu' and weights:
        lr /= 4
    max_iters, minutes, why_long = _schedule(data, machine, batch, pixels, weights, max_iters)
    return Plan(
        config=f'own/{heads}_{backbone}.py', arch=arch, scale=scale, crop=crop, batch=batch,
        workers=0 if kind == 'cpu' else min(machine.cores, 8), lr=lr, max_iters=max_iters,
        val_interval=math.ceil(max_iters / 4), weights=weights, minutes=minutes,
        reasons=dict(model=_why_model(data, machine, heads, arch), size=why_size,
                     batch=why_batch, lr=_why_lr(kind, batch, weights), schedule=why_long,
                     weights=_why_weights(weights)))


def _check_asked(data, batch, size, max_iters):
    least = least_batch(data)
    if batch is not None and not least <= batch <= max(data.train, least):
        raise InputError(f'--batch {batch}: give {least} to {max(data.train, least)} images a step '
                         f'(there are {data.train} to train on)')
    if size is not None and not LEAST_SIDE <= size <= MOST_SIDE:
        raise InputError(f'--size {size}: give {LEAST_SIDE} to {MOST_SIDE} pixels for the long '
                         'side of an image')
    if max_iters is not None and max_iters < 1:
        raise InputError(f'--iters {max_iters}: give a number of training steps from 1 on')


def least_batch(data: DataFacts) -> int:
    """The fewest images a step: UPerHead pools an image to one pixel, of which batch norm needs
    two."""
    return 2 if data.task == 'labels' else 1


def _gpu_arch(machine):
    return 'small' if machine.gpu_memory >= 22 else 'tiny'


def _why_model(data, machine, heads, arch):
    what = {'mask-rcnn': 'every object has a mask, so Mask R-CNN finds boxes and masks',
            'faster-rcnn': 'there are boxes and no masks, so Faster R-CNN finds boxes',
            'upernet': 'there are label maps, so UperNet labels every pixel'}[heads]
    where = f'{machine.gpu} with {machine.gpu_memory:g} GiB' if machine.gpu else \
        f'no GPU and {machine.cores} cores'
    fits = 'a small form on ConvNeXt V2-Atto' if arch == 'atto' else f'ConvNeXt {arch.title()}'
    return f'{what}; {where}: {fits}'


def _detector_size(data, kind, asked):
    """Large enough that nine of ten objects can be seen, small enough for the machine."""
    least, most = LONG_SIDE[kind]
    long, short = max(data.width, data.height), min(data.width, data.height)
    wanted = long * VISIBLE[kind] / max(data.small, 1.)
    side = _multiple(asked or min(max(wanted, least), most, max(long * 2, least)))
    seen = data.small * side / long
    short_side = _multiple(side * short / long)
    why = f'images of {data.width} x {data.height} pixels become {side} on the long side: nine ' \
          f'of ten objects are more than {data.small:g} pixels wide and high, there {seen:.0f}'
    if seen < VISIBLE[kind] / 2:
        why += ' (little: cut large images into tiles, or train on a larger machine)'
    return (side, short_side), None, why


def _label_map_size(data, kind, asked):
    if kind == 'gpu' and not asked:
        return (2048, 512), (512, 512), 'crops of 512 x 512 from images of 512 on the short side'
    factor = asked / max(data.width, data.height) if asked else \
        min(1., (CPU_PIXELS / (data.width * data.height))**.5)
    width, height = (_multiple(side * factor, 16) for side in (data.width, data.height))
    crop = tuple(min(_multiple(side * .8), 512) for side in (height, width))
    why = f'images of {data.width} x {data.height} pixels become {width} x {height}, with crops ' \
          f'of {crop[1]} x {crop[0]}: ' + ('as asked for' if asked else 'what a CPU has time for')
    return (max(width, height), min(width, height)), crop, why


def _multiple(side, of=32):
    return max(round(side / of) * of, of)


def _resized_area(data, scale):
    factor = min(scale[0] / max(data.width, data.height), scale[1] / min(data.width, data.height))
    return data.width * data.height * factor**2


def _batch(data, machine, pixels):
    least = least_batch(data)
    if machine.gpu is None:
        batch = min(4, max(data.train // 2, least))
        return batch, f'{counted(batch, "image")} a step'
    most = 16 if data.task == 'labels' else 8
    fitting = (machine.gpu_memory * .9 - GPU_RESERVED) / (GPU_MEMORY[data.task] * pixels)
    batch = 2**int(math.log2(min(max(fitting, least), most, max(data.train // 2, least))))
    return batch, f'{counted(batch, "image")} a step, estimated to fit ' \
        f'{machine.gpu_memory:g} GiB'


def _why_lr(kind, batch, weights):
    base, of = (CPU_LR, 4) if kind == 'cpu' else (GPU_LR, 16)
    why = f'{base:g} for {of} images a step, times the root of {batch}/{of}'
    return why + (', a quarter of it from weights' if kind == 'cpu' and weights else '')


def _schedule(data, machine, batch, pixels, weights, asked):
    """Steps, minutes or None, and why."""
    if asked:
        return asked, None, f'{counted(asked, "step")}, {asked * batch / data.train:.0f} passes ' \
                            f'over {data.train} images, as asked for'
    if machine.gpu is None:
        minutes = min(max(8., 8 + (data.train - 100) * .03), 60.)
        step = STEP_SECONDS[data.task] * batch * pixels / min(machine.cores, 8)
        most = 400 * data.train // batch
        steps = max(min(minutes * 60 / step // 10 * 10, most), 100)
        passes = steps * batch / data.train
        minutes = steps * step / 60
        return int(steps), minutes, (
            f'{steps:.0f} steps, {passes:.0f} passes over {data.train} images, about '
            f'{minutes:.0f} minutes on {machine.cores} cores with nothing beside')
    passes = 36 if weights else 108
    steps = min(max(passes * data.train // batch, 1500 if weights else 4500), 90_000)
    return steps, None, f'{steps} steps, {steps * batch / data.train:.0f} passes over ' \
                        f'{data.train} images'


def _why_weights(weights):
    if weights is None:
        return 'none could be had here, so the backbone starts from nothing; with ImageNet ' \
               'weights it would do better from fewer images'
    licence = ' (licensed CC-BY-NC-4.0: no commercial use)' if weights.startswith('convnextv2') \
        else ''
    return f'the backbone starts from {weights}{licence}'
