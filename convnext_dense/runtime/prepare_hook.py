"""Preparing a run's model for training or testing, as its config's ``acceleration`` says."""
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from convnext_dense.acceleration import Acceleration, prepare
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

    def _prepare(self, runner: Runner, mode: str) -> None:
        if self.mode is None:
            self.mode = mode
            runner.logger.info(f'model prepared to {mode}: '
                               f'{", ".join(prepare(runner.model, mode, None, self.settings))}')
