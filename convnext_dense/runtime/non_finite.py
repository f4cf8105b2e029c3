"""Steps whose loss or gradient is NaN or infinite: named, skipped, and at last stopped."""
import logging
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapper

from convnext_dense.errors import InputError
from convnext_dense.model_wrappers import local_part
from convnext_dense.runtime.random_state import random_state, set_random_state

UNKNOWN = ['unknown']  # images of samples that know no path


class NonFiniteStep(Exception):
    """Raised between the backward pass and the optimizer's step."""


class _GuardedOptimWrapper:
    """The optimizer wrapper for one step, which shows its losses to the guard."""

    def __init__(self, wrapper, guard):
        self._wrapper = wrapper
        self._guard = guard

    def update_params(self, loss, *args, **kwargs):
        self._wrapper.update_params(self._guard.note_loss(loss), *args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._wrapper, name)


class NonFiniteGuard:
    """Runs training steps and lets none with a NaN or infinite loss or gradient through.

    One look at the losses and the norms of all gradients, just before the optimizer's step, is
    the whole cost of a good step. For a bad step the weights stay as they were, the buffers
    (running statistics) are set back, and the step is repeated without an update to find the
    first module whose output or gradient is not finite. Several processes skip a step together,
    also where only one of them has a bad loss; otherwise their weights would part.

    With a loss scaler (float16) the scaler itself leaves out a step whose gradients overflow and
    lowers its scale. That is how it finds its scale, no fault, and is not counted, unless the
    scale cannot fall any more: it is fixed, or 1 already.

    Args:
        skip: how many steps of a run may be skipped; the next bad one stops the run, with a saved
            state. 0 stops at the first.

    Attributes:
        skipped (int): bad steps so far.
        last (str): of the last one, what was bad and of which images.
        stop (str | None): why the run must stop.

    Raises:
        InputError: ``skip`` is no number of steps.
    """

    def __init__(self, skip: int = 10) -> None:
        if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
            raise InputError(f'not_finite.skip is {skip!r}; give a number of steps from 0 on')
        self.skip = skip
        self.skipped = 0
        self.last = ''
        self.stop: str | None = None
        self._losses: list[tuple[torch.Tensor, list[str]]] = []  # since the last update
        self._paths: list[str] = []  # of the running step
        self._scaler: torch.amp.GradScaler | None = None
        self._updated = False
        self._hooked: torch.optim.Optimizer | None = None

    def train_step(self, model: BaseModel, data_batch: Any, wrapper: OptimWrapper) -> dict:
        """``model.train_step``, or an empty dict where the step was skipped."""
        optimizer = getattr(wrapper, 'optimizer', None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            return model.train_step(data_batch, optim_wrapper=wrapper)  # the model's own business
        if self._hooked is not optimizer:
            optimizer.register_step_pre_hook(self._before_update)
            self._hooked = optimizer
        scaler = getattr(wrapper, 'loss_scaler', None)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        scale = self._scaler.get_scale() if self._scaler else None
        self._updated, self._paths = False, images(data_batch)
        before = self._remember(model)
        try:
            outputs = model.train_step(data_batch, optim_wrapper=_GuardedOptimWrapper(
                wrapper, self))
        except NonFiniteStep:
            self._skip(model, data_batch, wrapper, before)
            return {}
        if not wrapper.should_update():
            return outputs
        if scale is not None and self._losses and not self._updated:
            if not self._is_overflow(scale):
                self._skip(model, data_batch, wrapper, before)
                return {}
        self._losses.clear()
        return outputs

    def note_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Keep a loss for the check before the update; returns what to differentiate."""
        self._losses.append((loss.detach(), self._paths))
        if self._scaler is None:
            return loss
        # the scaler looks at gradients only, which a NaN that is a constant does not reach
        return loss * loss.new_ones(()).masked_fill(~loss.detach().isfinite(), math.nan)

    def _before_update(self, optimizer, args, kwargs):
        if self._scaler is not None:
            # an optimizer that unscales by itself (fused) is called, and leaves out the step; any
            # other is called for good steps only
            found_inf = getattr(optimizer, 'found_inf', None)
            self._updated = found_inf is None or not bool(found_inf)
            return
        gradients = [local_part(parameter.grad) for group in optimizer.param_groups
                     for parameter in group['params'] if parameter.grad is not None]
        if gradients and not _finite_everywhere([
                *torch._foreach_norm(gradients), *(loss for loss, _ in self._losses)]):
            raise NonFiniteStep
        self._updated = True

    def _is_overflow(self, scale):
        """Whether the scaler left out this step and lowered its scale, as it should."""
        assert self._scaler is not None
        now = self._scaler.get_scale()
        if now >= scale or scale <= 1 or any(all_gather_object(bool(self._bad_losses()))):
            return False
        print_log(f'gradients overflowed with the loss scale {scale:g}, which is {now:g} now; '
                  'the step is left out, as is usual while the scale is being found', 'current')
        return True

    def _bad_losses(self):
        """Of each loss that is not finite the images."""
        return [paths for loss, paths in self._losses if not loss.isfinite().all()]

    @staticmethod
    def _remember(model: torch.nn.Module) -> tuple[dict[str, Any], list[torch.Tensor], list[
                  torch.Tensor]]:
        # running statistics and counters; tables of indices never change
        buffers = [buffer for buffer in model.buffers()
                   if buffer.is_floating_point() or buffer.numel() == 1]
        return random_state(), buffers, [buffer.clone() for buffer in buffers]

    def _skip(self, model, data_batch, wrapper, before):
        state, buffers, values = before
        now = random_state()
        inner = model.module if is_model_wrapper(model) else model
        wrapper.zero_grad()
        _set(buffers, values)
        set_random_state(state)
        module, kind = find_module(inner, data_batch, wrapper)
        _set(buffers, values)
        set_random_state(now)
        bad = self._bad_losses()
        kind = 'loss' if bad else kind
        paths = [path for batch in bad or [paths for _, paths in self._losses]
                 for path in batch]
        found = all_gather_object((kind, module, paths))
        # a bad loss of one process spoils the gradients of all of them
        found = ([one for one in found if one[0] == 'loss'] or
                 [one for one in found if one[0]] or found)
        self._losses.clear()
        self.skipped += 1
        paths = [path for one in found for path in one[2]] or self._paths
        message = (f'the {found[0][0] or "gradient"} of this step is NaN or infinite, first in '
                   f'{found[0][1] or "an unknown module"}; images: {", ".join(paths)}')
        self.last = message
        if self.skipped > self.skip:
            self.stop = (f'{message}. {self.skip} such steps were skipped before '
                         '(not_finite.skip); lower the learning rate, clip the gradient, or look '
                         'at these images')
        else:
            print_log(f'{message}. The step is skipped ({self.skipped} of {self.skip} that may '
                      'be)', 'current', logging.WARNING)


def _finite_everywhere(values):
    """Whether all scalars are finite, in all processes; one transfer from the device."""
    device = values[0].device
    finite = torch.stack([value.detach().float().to(device).reshape(()) for value in values]
                         ).isfinite().all()
    if get_world_size() > 1:
        finite = finite.int()
        all_reduce(finite, 'min')
    return bool(finite)


@torch.no_grad()
def _set(buffers, values):
    for buffer, value in zip(buffers, values):
        buffer.copy_(value)


def find_module(model: BaseModel, data_batch: Any,
                wrapper: OptimWrapper) -> tuple[str | None, str | None]:
    """The module where NaN or infinity begins, in the forward or else in the backward pass.

    The step is repeated, in the precision and with the loss scale of training; no gradient is
    kept.

    Args:
        model: with the weights and buffers of the bad step, not wrapped for several processes.
        data_batch: the batch, as the data loader gave it.
        wrapper: the optimizer wrapper, whose autocast and loss scale are used.

    Returns:
        its name and class (or a loss's name), and where it is: ``loss`` or ``gradient``; None and
        None where nothing was found.
    """
    names: dict[torch.nn.Module, str] = {}
    order: list[torch.nn.Module] = []
    bad_outputs: list[torch.nn.Module] = []

    def look(module, args, output):
        order.append(module)
        if not bad_outputs and not _finite(output):
            bad_outputs.append(module)

    handles = []
    for name, module in model.named_modules():
        names[module] = f'{name or "the model"} ({type(module).__name__})'
        if name:  # what the model itself returns are the losses, which have names of their own
            handles.append(module.register_forward_hook(look))
    losses: Any = {}
    try:
        with wrapper.optim_context(model):
            data = model.data_preprocessor(data_batch, True)
            losses = model(**data, mode='loss') if isinstance(data, dict) else model(
                *data, mode='loss')
    except Exception:  # NaN breaks assertions of losses and assigners
        losses = {}
    finally:
        for handle in handles:
            handle.remove()
    if bad_outputs:
        return names[bad_outputs[0]], 'loss'
    for name, value in losses.items() if isinstance(losses, dict) else ():
        if not _finite(value):
            return name, 'loss'
    bad = _modules_with_bad_gradients(model, losses, wrapper)
    for module in reversed(order):  # gradients run backwards
        if module in bad:
            return names[module], 'gradient'
    return None, None


def _modules_with_bad_gradients(model, losses, wrapper):
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        loss = model.parse_losses(losses)[0]
        if hasattr(wrapper, 'loss_scaler'):
            loss = wrapper.loss_scaler.scale(loss)
        # not backward(), which would accumulate, and start the exchange between processes
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    except Exception:  # no losses, or operators that cannot be differentiated in this way
        return set()
    bad = {parameter for parameter, gradient in zip(parameters, gradients)
           if gradient is not None and not _finite(gradient)}
    return {module for module in model.modules()
            if not bad.isdisjoint(module.parameters(recurse=False))}


def _finite(value):
    return all(tensor.isfinite().all() for tensor in tensors(value))


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The floating-point tensors inside nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
        return
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for child in value:
        yield from tensors(child)


def images(data_batch: Any) -> list[str]:
    """Paths of the images of a batch, where its samples know them; else ``['unknown']``."""
    samples = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
    paths = [getattr(sample, 'img_path', None) or getattr(sample, 'metainfo', {}).get('img_path')
             for sample in samples]
    return [str(path) for path in paths if path] or UNKNOWN
