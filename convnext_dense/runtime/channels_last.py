"""Training and testing with channels-last memory, which CPU and tensor-core convolutions like."""
import torch
from mmengine.hooks import EMAHook, Hook

from convnext_dense.errors import InputError
from convnext_dense.registry import HOOKS

MEMORY_FORMATS = (None, 'contiguous', 'channels_last')


def memory_format_hooks(memory_format):
    """The hooks that a config's ``memory_format`` stands for.

    Args:
        memory_format (str | None): ``channels_last``; ``contiguous`` or None change nothing.

    Raises:
        InputError: anything else.
    """
    if memory_format not in MEMORY_FORMATS:
        raise InputError(f'memory_format {memory_format!r}: give channels_last or contiguous')
    return [ChannelsLastHook()] if memory_format == 'channels_last' else []


def arrange_for_training(model, compiles=False):
    """Lay a model's weights channels-last; on a CPU let Winograd compute its large convolutions.

    Args:
        model (nn.Module): changed in place; weights keep their names, values change by rounding.
        compiles (bool): parts are compiled, for which torch's convolutions are kept.
    """
    model.to(memory_format=torch.channels_last)
    if not compiles:
        from convnext_dense.acceleration.cpu.winograd import (
            replace_convolutions,  # needs mmcv's layers
        )
        replace_convolutions(model)


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keeps the model's convolution weights channels-last; their outputs follow.

    On a CPU it halves the time of the convolutions; values change by rounding only. There a
    runner that has not trained also prepares its model for inference before it evaluates it, see
    :func:`convnext_dense.acceleration.cpu.inference.prepare_for_inference`; but not one with an
    exponential moving average, whose weights are swapped in later, and not one that compiles. What
    a runner that trains does is :func:`arrange_for_training`.
    """

    def __init__(self):
        self._trains = self._prepared = False

    def before_run(self, runner):
        runner.model.to(memory_format=torch.channels_last)

    def before_train(self, runner):
        if self._prepared:
            raise InputError('this runner has evaluated its model, which was prepared for '
                             'inference: train with another one')
        arrange_for_training(runner.model, runner.cfg.get('compile'))
        self._trains = True

    def before_val(self, runner):
        self._prepare(runner)

    def before_test(self, runner):
        self._prepare(runner)

    def _prepare(self, runner):
        model = runner.model
        if self._trains or self._prepared or runner.cfg.get('compile') or \
                next(model.parameters()).device.type != 'cpu' or \
                any(isinstance(hook, EMAHook) for hook in runner.hooks):
            return
        from convnext_dense.acceleration.cpu.inference import (
            prepare_for_inference,  # needs mmcv's layers
        )
        prepare_for_inference(model)
        self._prepared = True
