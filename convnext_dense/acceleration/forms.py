"""The seam between a model and its faster forms: the class of a module.

A faster form is a subclass of the class that it stands in for. It has the same parameters under the
same names and differs in one method, so that giving a module its form changes neither the state
dict nor hooks, optimizers, copies or ``isinstance``; torch's parametrisations and FSDP2 work in the
same way. A form decides at each call whether it computes or leaves it to its base class.
"""
from collections.abc import Callable

from torch import nn


class Form:
    """Marks a faster form; its first base is the class that it stands in for."""


def give_form(model: nn.Module, form: type, fits: Callable[..., bool] | None = None
              ) -> int:
    """Give the modules of exactly the form's first base the form, in place.

    Args:
        model (nn.Module): its modules are looked at, itself included.
        form (type): a subclass of :class:`Form`.
        fits (Callable, optional): leaves out the modules for which it is false.

    Returns:
        int: how many modules got it.
    """
    found = [module for module in model.modules() if type(module) is form.__bases__[0]
             and (fits is None or fits(module))]
    for module in found:
        module.__class__ = form
    return len(found)


def remove_forms(model: nn.Module) -> None:
    """Give the modules of a model that have a form their own class again, in place."""
    for module in model.modules():
        if isinstance(module, Form) and Form in type(module).__bases__:
            module.__class__ = type(module).__bases__[0]
