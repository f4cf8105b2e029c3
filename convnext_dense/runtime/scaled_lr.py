"""The learning rate of a run for the images that all its processes see in a step."""
from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch.utils.data import DataLoader

from convnext_dense.optim.batch_scaling import change_rates, described_batch, lr_factor, lr_rule


def scale_rates(optim_wrapper: OptimWrapper, setting: Mapping[str, Any], loader: Any,
                processes: int, schedules: Any) -> str | None:
    """Multiply learning rates by the factor of the batch, where ``enable`` says so.

    Args:
        optim_wrapper: changed in place; several are one each.
        setting: ``auto_scale_lr`` of the config.
        loader: of training, or its config.
        processes: how many see a batch of their own.
        schedules: the configs of the schedules, whose rates follow.

    Returns:
        A line on what was done, or on what was not; None where the batch is the recipe's, or
        where the recipe names none.
    """
    base = setting.get('base_batch_size')
    if base is None:
        return None
    wrappers = list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [
        optim_wrapper]
    batch: Any = loader.batch_size if isinstance(loader, DataLoader) else loader['batch_size']
    accumulated = getattr(wrappers[0], '_accumulative_counts', 1)
    whole = batch * processes * accumulated
    rule = lr_rule(type(wrappers[0].optimizer).__name__, setting.get('rule'))
    factor = lr_factor(whole, base, rule)
    if factor == 1:
        return None
    words = {'linear': f'{whole} / {base}', 'sqrt': f'the root of {whole} / {base}'}[rule]
    seen = described_batch(batch, processes, accumulated)
    if not setting.get('enable'):
        return (f'a batch is {seen}, but the learning rate is for {base}; --auto-scale-lr '
                f'multiplies it by {factor:.3g} ({words})')
    for wrapper in wrappers:
        for group in wrapper.optimizer.param_groups:
            group['lr'] *= factor
    change_rates(schedules, lambda rate: rate * factor)
    return (f'a batch is {seen}: the learning rate, which is for {base}, is multiplied by '
            f'{factor:.3g} ({words})')
