"""Choosing among plans by measuring them once on this GPU, and remembering the choice.

A choice holds for an operator, a type, a number of channels and a size class: the number of pixels
up to a factor of two, and the edge of a small map. It is kept in ``~/.cache/convnext_dense/tuning``
(or below ``XDG_CACHE_HOME``), one file for each GPU model and versions of torch and Triton.
"""
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
import triton
from mmengine.dist import get_world_size
from torch import Tensor

from convnext_dense.acceleration.triton.plans import Plan
from convnext_dense.acceleration.triton.tiles import Tile
from convnext_dense.files import atomic_write

#: set to 0 to take the first plan everywhere
SWITCH = 'CONVNEXT_DENSE_TUNE'
REPETITIONS = 10


class Choices:
    """The remembered choices of one GPU model.

    Args:
        path (Path): their file. One that cannot be read or understood counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plans: dict[str, Plan] = self._read()
        self.sure: dict[str, Plan] = {}  # those that this process measured, or found to be possible

    def _read(self):
        try:
            stored = json.loads(self.path.read_text())
            return {key: Plan(how, tile and Tile(*map(int, tile)))
                    for key, (how, tile) in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def keep(self, key: str, plan: Plan) -> None:
        """Remember a plan. A folder that cannot be written costs measuring again next time."""
        self.plans = {**self._read(), **self.plans, key: plan}  # other processes measure too
        with suppress(OSError), atomic_write(self.path) as partial:
            partial.write_text(json.dumps(self.plans, indent=0))


@cache
def choices(gpu: str) -> Choices:
    """The :class:`Choices` of a GPU by its name."""
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    name = f'{gpu}_torch-{torch.__version__}_triton-{triton.__version__}.json'
    return Choices(home / 'convnext_dense' / 'tuning' / name.replace(' ', '-').replace('/', '-'))


def key_of(step: str, x: Tensor) -> str:
    """What a choice holds for, as text: step, type, channels and size class of a map.

    Args:
        step (str): what is to be done.
        x (Tensor): (N, C, H, W) in shape.
    """
    images, channels, height, width = x.shape
    size = (images * height * width - 1).bit_length()
    order = 'last' if x.stride(1) == 1 else 'first'
    edge = min(height, width, 15)
    return f'{step} {str(x.dtype).removeprefix("torch.")} {channels} 2^{size} {edge} {order}'


def may_measure(x: Tensor) -> bool:
    """Whether plans can be timed now: on a GPU, outside of graph capture, if not switched off.

    Plans round differently: one of several processes must not choose another one than its
    neighbours, so there all take what a single process found before, or the first plan.
    """
    return x.is_cuda and os.environ.get(SWITCH) != '0' and get_world_size() == 1 and \
        not torch.cuda.is_current_stream_capturing()


def choose(step: str, x: Tensor, plans: Callable[[], list[Plan]], run: Callable[[Plan], object],
           seconds: Callable[[Callable], float] | None = None) -> Plan:
    """The plan for a map.

    Args:
        step (str): what is to be done.
        x (Tensor): the map.
        plans (Callable[[], list[Plan]]): gives the ways to do it; the first one unmeasured.
        run (Callable[[Plan], object]): does it.
        seconds (Callable[[Callable], float], optional): times a call; by default on the GPU.

    Returns:
        Plan: one of ``plans``.
    """
    if not (x.is_cuda or seconds) or torch.are_deterministic_algorithms_enabled():
        return plans()[0]  # the same on every machine
    known = choices(torch.cuda.get_device_name(x.device) if x.is_cuda else 'CPU')
    key = key_of(step, x)
    if key in known.sure:
        return known.sure[key]
    possible, plan = plans(), known.plans.get(key)
    if plan in possible:
        known.sure[key] = plan
        return plan
    if not seconds and not may_measure(x):
        return possible[0]
    times = {}
    for plan in possible:
        try:
            times[plan] = (seconds or seconds_on_gpu)(lambda plan=plan: run(plan))
        except triton.TritonError:  # does not compile for this GPU: registers, shared memory
            continue
    best = min(times, key=lambda plan: times[plan], default=possible[0])
    known.sure[key] = best
    if times:
        known.keep(key, best)
    return best


def seconds_on_gpu(call: Callable) -> float:
    """Median time of a call on the GPU, after one that compiles and one that warms up."""
    for _ in range(2):
        call()
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(REPETITIONS)]
    for begin, end in marks:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in marks)[REPETITIONS // 2] / 1e3
