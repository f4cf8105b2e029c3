"""``torch.compile`` for training and testing: the parts of a model that it suits.

mmengine compiles ``train_step``, so that testing stays eager, and with it the heads of detectors,
whose shapes depend on the data. Here backbone, neck and the heads of segmenters are compiled,
with sizes as unknowns, so that an image of another size needs no compilation of its own. That
holds for testing backbones and necks; inductor (torch 2.13) ties the backward graph of a
convolution, and adaptive pooling (UPerHead), to the sizes that it saw, so these compile once for
each size of a batch: train on crops of one size.
"""
import copy
import logging
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.private.torch import (
    compiling_for_any_size,
    is_compiler_error,
    mark_dynamic,
)

PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head')


def compile_options(setting: Any) -> dict | None:
    """The arguments of ``torch.compile`` that a config's ``compile`` stands for.

    Args:
        setting (bool | dict | None): as in mmengine's configs.

    Returns:
        dict | None: None compiles nothing.

    Raises:
        InputError: neither, or options that ``torch.compile`` does not take.
    """
    if setting is None or setting is False:
        return None
    if setting is not True and not isinstance(setting, dict):
        raise InputError(f'compile={setting!r}: give True, False or a dict of the arguments of '
                         'torch.compile')
    options = {'dynamic': True, **({} if setting is True else setting)}
    try:
        torch.compile(lambda: None, **options)
    except (TypeError, RuntimeError, ValueError) as error:
        raise InputError(f'compile={setting!r}: {str(error).splitlines()[0]}') from error
    return options


def compile_parts(model: nn.Module, **options: Any) -> list[str]:
    """Compile the parts of a detector or segmenter in place, when each runs first.

    Args:
        model (nn.Module): the parts named in ``PARTS`` that it has are compiled.
        options: arguments of ``torch.compile``.

    Returns:
        list[str]: names of the parts.
    """
    options.setdefault('dynamic', True)
    found = {name: getattr(model, name) for name in PARTS if getattr(model, name, None) is not None}
    for name, part in found.items():
        for module in part if isinstance(part, torch.nn.ModuleList) else [part]:
            module.forward = CompiledForward(module, name, options)
    return list(found)


class CompiledForward:
    """A module's ``forward``, compiled; eager from the first failure on, which is logged.

    A copy of the module is eager: compiled code would go on with the original's weights.

    Args:
        module (nn.Module): the module.
        name (str): what the log calls it.
        options (dict): arguments of ``torch.compile``.
    """

    def __init__(self, module: nn.Module, name: str, options: dict) -> None:
        self.module, self.name = module, name
        self.eager: Any = module.forward
        self.compiled: Callable | None = torch.compile(self.eager, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.compiled is None:
            return self.eager(*args, **kwargs)
        mark_sizes(args)
        try:
            with compiling_for_any_size():
                return self.compiled(*args, **kwargs)
        except Exception as error:
            if not is_compiler_error(error):
                raise
            self.compiled = None
            print_log(f'{self.name} runs eagerly, it could not be compiled: '
                      f'{_reason(error)}', logger='current', level=logging.WARNING)
            return self.eager(*args, **kwargs)

    def __deepcopy__(self, memo):
        return MethodType(self.eager.__func__, copy.deepcopy(self.module, memo))


def mark_sizes(value: Any) -> None:
    """Tell the compiler that heights and widths of maps change, also of maps in a tuple."""
    if isinstance(value, (list, tuple)):
        for item in value:
            mark_sizes(item)
    elif torch.is_tensor(value) and value.ndim == 4:
        for dim in (2, 3):
            mark_dynamic(value, dim)


def _reason(error):
    """The line of an error of the compiler that tells most."""
    inner = error
    while inner.__cause__ is not None or getattr(inner, 'inner_exception', None) is not None:
        inner = getattr(inner, 'inner_exception', None) or inner.__cause__
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return f'{type(inner).__name__}: {lines[0] if lines else "no message"}'
