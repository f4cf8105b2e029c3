"""Time spent in the stages of a detector or segmenter, measured while it runs.

Every stage is measured by itself; nothing is inferred by subtraction, so that the sum of the
stages can be held against the time of the whole.
"""
from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper

INFERENCE_STAGES = ('data', 'backbone', 'neck', 'heads', 'post-processing')
TRAINING_STAGES = ('data', 'backbone', 'neck', 'heads', 'backward', 'optimizer')

#: methods of a whole model, and of its heads: the stage that each belongs to
MODEL_METHODS = {'inference': 'post-processing', 'postprocess_result': 'post-processing',
                 'add_pred_to_datasample': 'post-processing', 'window_logits': 'heads',
                 'predict_labels': 'post-processing'}
HEAD_METHODS = {'predict': 'heads', 'loss': 'heads', 'loss_and_predict': 'heads',
                'predict_by_feat': 'post-processing'}
HEADS = ('rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'decode_head', 'auxiliary_head')


class StageTimer:
    """Exclusive times of nested stages.

    Entering a stage stops the clock of the one around it, so that the times never overlap.

    Args:
        device (str): ``cpu`` or ``cuda``; a CUDA device is waited for at each change of stage.
    """

    def __init__(self, device: str = 'cpu') -> None:
        self.synchronize = torch.cuda.synchronize if device == 'cuda' else lambda: None
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.

    def enter(self, stage: str) -> None:
        now = self.now()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._stack.append(stage)
        self._since = now

    def leave(self) -> None:
        now = self.now()
        self.seconds[self._stack.pop()] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def now(self) -> float:
        """Seconds of a clock, once the device has done all its work."""
        self.synchronize()
        return time.perf_counter()


@contextmanager
def timed_stages(model: nn.Module, timer: StageTimer,
                 training: bool = False) -> Iterator[StageTimer]:
    """Let ``timer`` follow ``model`` through its stages within the ``with`` block.

    Args:
        model (BaseModel): a detector or segmenter.
        timer (StageTimer): gets the seconds of each stage.
        training (bool): the RPN's proposals and the targets count as heads, as a training step
            has no post-processing.
    """
    undo = []
    try:
        for name, stage in (('data_preprocessor', 'data'), ('backbone', 'backbone'),
                            ('neck', 'neck')):
            module = getattr(model, name, None)
            if module is not None:
                undo += _time_module(module, timer, stage)
        for method, stage in MODEL_METHODS.items():
            undo += _time_method(model, method, timer, stage)
        for head in _heads(model):
            for method, stage in HEAD_METHODS.items():
                undo += _time_method(head, method, timer, 'heads' if training else stage)
        yield timer
    finally:
        for step in reversed(undo):
            step()


def _heads(model):
    heads: list[Any] = []
    for name in HEADS:
        for owner in (model, getattr(model, 'roi_head', None)):
            head = getattr(owner, name, None)
            heads += list(head) if isinstance(head, torch.nn.ModuleList) else [head]
    return [head for head in heads if head is not None]


def _time_module(module, timer, stage):
    before = module.register_forward_pre_hook(lambda *_: timer.enter(stage), prepend=True)
    after = module.register_forward_hook(lambda *_: timer.leave())
    return [before.remove, after.remove]


def _time_method(owner, name, timer, stage):
    method = getattr(owner, name, None)
    if method is None or name in vars(owner):
        return []

    def timed(*args, **kwargs):
        with timer.stage(stage):
            return method(*args, **kwargs)

    object.__setattr__(owner, name, timed)
    return [lambda: object.__delattr__(owner, name)]


@contextmanager
def timed_optimizer(wrapper: OptimWrapper | None, timer: StageTimer) -> Iterator[None]:
    """Let ``timer`` follow an OptimWrapper (None does nothing) within the ``with`` block."""
    undo: list[Callable[[], object]] = []
    for method, stage in (('backward', 'backward'), ('step', 'optimizer'),
                          ('zero_grad', 'optimizer')):
        undo += _time_method(wrapper, method, timer, stage) if wrapper else []
    try:
        yield
    finally:
        for step in undo:
            step()
