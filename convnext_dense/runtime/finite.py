"""Steps whose loss or gradient is NaN or infinite: named, skipped, and at last stopped."""
import logging

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from convnext_dense.errors import InputError
from convnext_dense.runtime.random_state import random_state, set_random_state


class NotFinite(Exception):
    """Raised between the backward pass and the optimizer's step."""


class _Optimizing:
    """The optimizer wrapper for one step; it keeps the losses for the check before the update."""

    def __init__(self, wrapper, watch):
        self._wrapper = wrapper
        self._watch = watch

    def update_params(self, loss, *args, **kwargs):
        self._watch.losses.append(loss.detach())
        self._wrapper.update_params(loss, *args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._wrapper, name)


class Watch:
    """Runs training steps and lets none with a NaN or infinite loss or gradient through.

    One look at the losses and the norms of all gradients, just before the optimizer's step, is
    the whole cost of a good step. For a bad step the weights stay as they were, the buffers
    (running statistics) are set back, and one more forward pass finds the first module whose
    output is not finite. Several processes skip a step together, also where only one of them has
    a bad loss; otherwise their weights would part.

    Args:
        skip (int): how many steps of a run may be skipped; the next bad one stops the run, with a
            saved state. 0 stops at the first.
    """

    def __init__(self, skip=10):
        if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
            raise InputError(f'not_finite.skip is {skip!r}; give a number of steps from 0 on')
        self.skip = skip
        self.skipped = 0
        self.losses = []
        self.stop = None  # why the run must stop
        self._hooked = None

    def train_step(self, model, data_batch, wrapper):
        """``model.train_step``, or an empty dict where the step was skipped."""
        if not hasattr(wrapper, 'optimizer'):  # several optimizers: the model's own business
            return model.train_step(data_batch, optim_wrapper=wrapper)
        if self._hooked is not wrapper.optimizer:
            wrapper.optimizer.register_step_pre_hook(self._check)
            self._hooked = wrapper.optimizer
        before = self._remember(model)
        try:
            outputs = model.train_step(data_batch, optim_wrapper=_Optimizing(wrapper, self))
        except NotFinite:
            self._explain(model, data_batch, wrapper, before)
            return {}
        if hasattr(wrapper, 'loss_scaler'):
            self._check_scaled_loss(model, data_batch, wrapper, before)
        if not getattr(wrapper, 'should_update', lambda: True)():
            return outputs
        self.losses.clear()
        return outputs

    def _check(self, optimizer, args, kwargs):
        gradients = [parameter.grad for group in optimizer.param_groups
                     for parameter in group['params'] if parameter.grad is not None]
        if not gradients:
            return
        if not _finite_everywhere([*torch._foreach_norm(gradients), *self.losses]):
            raise NotFinite

    def _check_scaled_loss(self, model, data_batch, wrapper, before):
        """With loss scaling the scaler skips the step itself; a large scale is no fault."""
        if self.losses and not _finite_everywhere(self.losses):
            self._explain(model, data_batch, wrapper, before)

    @staticmethod
    def _remember(model):
        # running statistics and counters; tables of indices never change
        buffers = [buffer for buffer in model.buffers()
                   if buffer.is_floating_point() or buffer.numel() == 1]
        return random_state(), buffers, [buffer.clone() for buffer in buffers]

    def _explain(self, model, data_batch, wrapper, before):
        state, buffers, values = before
        now = random_state()
        inner = model.module if is_model_wrapper(model) else model
        _set(buffers, values)
        set_random_state(state)
        module, forward = find_module(inner, data_batch)
        _set(buffers, values)
        set_random_state(now)
        bad_loss = not all(loss.isfinite().all() for loss in self.losses)
        found = all_gather_object((bad_loss, bad_loss or forward, module, images(data_batch)))
        # a bad loss of one process spoils the gradients of all of them
        found = [one for one in found if one[1]] or found
        what = 'loss' if any(bad for bad, *_ in found) else 'gradient'
        module, paths = found[0][2], [path for one in found for path in one[3]]
        self.losses.clear()
        wrapper.zero_grad()
        self.skipped += 1
        message = (f'the {what} of this step is NaN or infinite, first in '
                   f'{module or "an unknown module"}; images: {", ".join(paths)}')
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


def find_module(model, data_batch):
    """The module where NaN or infinity begins, in the forward or else in the backward pass.

    Args:
        model (nn.Module): its gradients are those of the bad step.
        data_batch: the batch, as the data loader gave it.

    Returns:
        tuple: its name and class or None, and whether it is in the forward pass.
    """
    names, order, found = {}, [], []

    def look(module, args, output):
        order.append(module)
        if not found and not all(value.isfinite().all() for value in tensors(output)):
            found.append(module)

    bad = {module for module in model.modules() if any(
        parameter.grad is not None and not parameter.grad.isfinite().all()
        for parameter in module.parameters(recurse=False))}
    handles = []
    for name, module in model.named_modules():
        names[module] = f'{name or "the model"} ({type(module).__name__})'
        if name:  # what the model itself returns are the losses, which have names of their own
            handles.append(module.register_forward_hook(look))
    try:
        with torch.no_grad():
            data = model.data_preprocessor(data_batch, True)
            losses = model(**data, mode='loss') if isinstance(data, dict) else model(
                *data, mode='loss')
    except Exception:  # NaN breaks assertions of losses and assigners
        losses = {}
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return names[found[0]], True
    for name, value in losses.items() if isinstance(losses, dict) else ():
        if not all(tensor.isfinite().all() for tensor in tensors(value)):
            return name, True
    for module in reversed(order):  # gradients run backwards
        if module in bad:
            return names[module], False
    return None, False


def tensors(value):
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


def images(data_batch):
    """Paths of the images of a batch, where its samples know them."""
    samples = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
    paths = [getattr(sample, 'img_path', None) or getattr(sample, 'metainfo', {}).get('img_path')
             for sample in samples]
    return [str(path) for path in paths if path] or ['unknown']
