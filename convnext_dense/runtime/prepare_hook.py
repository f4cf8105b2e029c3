"""Preparing a run's model for training or testing, as its config's ``acceleration`` says."""
from dataclasses import replace

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.acceleration.memory_format import set_memory_format
from convnext_dense.acceleration.settings import MEMORY_FORMATS
from convnext_dense.errors import InputError
from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class PrepareHook(Hook):
    """Takes the model through :func:`convnext_dense.acceleration.prepare` before it first runs.

    A run that only evaluates prepares for inference, but not where an exponential moving average
    swaps weights in later.

    Args:
        acceleration (bool | dict | None): see :class:`Acceleration`.
        compile (bool | dict | None): mmengine's setting.
    """

    priority = 'VERY_LOW'  # after hooks that copy or load weights

    def __init__(self, acceleration: bool | dict | None = None,
                 compile: bool | dict | None = None) -> None:
        self.settings = Acceleration.from_config(acceleration, compile)
        self.mode: str | None = None

    def before_train(self, runner: Runner) -> None:
        if self.mode == 'infer':
            raise InputError('this runner has evaluated its model, which was prepared for '
                             'inference: train with another one')
        self._prepare(runner, 'train')

    def before_val(self, runner: Runner) -> None:
        averaged = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        self._prepare(runner, 'train' if averaged else 'infer')

    def before_test(self, runner: Runner) -> None:
        self.before_val(runner)

    def set_memory_format(self, model: nn.Module, name: str | None = None) -> None:
        """Give a model's weights a layout, by default that with which it is prepared later."""
        if self.settings is not None:
            set_memory_format(model, MEMORY_FORMATS[name or self.settings.memory_format])

    def prepare_before_sharding(self, runner: Runner) -> None:
        """Prepare to train before the parameters are shared out, which needs contiguous ones.

        The faster forms of blocks return views, on which FSDP2 warns that its hooks can get lost.
        """
        if self.settings is not None:
            self.settings = replace(self.settings, memory_format='contiguous', forms=False)
        self._prepare(runner, 'train')

    def _prepare(self, runner: Runner, mode: str) -> None:
        if self.mode is None:
            self.mode = mode
            runner.logger.info(f'model prepared to {mode}: '
                               f'{", ".join(prepare(runner.model, mode, None, self.settings))}')
