"""Whether the classes of a run are those that the weights were trained on, in the same order."""
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.base_loop import BaseLoop

from convnext_dense.checkpoints.class_layers import plain_name
from convnext_dense.checkpoints.fine_tuning import classes_of
from convnext_dense.errors import InputError


def classes_of_run(loops: Iterable[Any]) -> Sequence[str] | None:
    """The classes of the data of the first loop that is built and has any."""
    for loop in loops:
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if isinstance(loop, BaseLoop) and classes:
            return list(map(str, classes))
    return None


def check_weights_classes(name: str, checkpoint: dict, classes: Sequence[str] | None) -> None:
    """Compare the class list in a checkpoint with that of a run.

    Args:
        name: of the checkpoint, for messages.
        checkpoint: its content.
        classes: of the run, in label order; None where it has none.

    Raises:
        InputError: the same classes in another order: every label would mean another class.
    """
    trained = classes_of(checkpoint, {})
    if not trained or not classes:
        return
    before, now = (list(map(plain_name, names)) for names in (trained, classes))
    if before == now:
        return
    if sorted(before) == sorted(now):
        label = next(label for label, (one, other) in enumerate(zip(before, now)) if one != other)
        raise InputError(
            f'{name} was trained on these classes in another order: its label {label} is '
            f'{trained[label]!r}, the config\'s {classes[label]!r}; list the classes in its order, '
            f'{_listed(trained)}, or train with --init-from, which matches them by name')
    if len(before) == len(now):
        print_log(f'{name} was trained on the classes {_listed(trained)}, the config has '
                  f'{_listed(classes)}: labels are taken by their number; train with --init-from '
                  'to have them matched by name', 'current', logging.WARNING)


def _listed(names: Sequence[str]) -> str:
    return ', '.join(map(str, names[:6])) + (', ...' if len(names) > 6 else '')
