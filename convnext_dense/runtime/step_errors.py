"""What the error of a failing step names: its images, or the settings."""
from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from convnext_dense.checks.sampling import evenly
from convnext_dense.errors import InputError, in_one_line, is_out_of_memory
from convnext_dense.runtime.hook_errors import raised_in_hook
from convnext_dense.runtime.non_finite import UNKNOWN, images

IMAGES = 4  # of the data set that are tried where the first step fails


@contextmanager
def named_cause(work: str, loop: BaseLoop, data_batch: Any,
                attempt: Callable[[Any], Any]) -> Iterator[None]:
    """Name the images of a failing step, or the settings where it fails without them as well.

    An image's fault goes with the image. So where no step has passed yet, some images of the data
    set are tried, each in a batch of its own: images are named unless all of these batches fail,
    and in the same way. Where several processes run, no image can be tried (the others would wait
    for this one's gradients): the error says that one process can tell.

    Args:
        work: training or evaluation.
        loop: the loop; its ``passed`` says that an earlier step did not fail.
        data_batch: the batch of the step.
        attempt: does with another batch what the step does; the run ends after it.

    Raises:
        InputError: one line, in the place of what the step raised.
    """
    try:
        yield
        loop.passed = True
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or raised_in_hook(error):
            raise
        names, alone = images(data_batch), get_world_size() == 1
        if not loop.passed and alone and _fails_without(
                loop.dataloader, error, attempt, 1 if len(names) == 1 and names != UNKNOWN else 2):
            raise InputError(
                f'{work} fails on every batch that was tried, not only on {", ".join(names)}: '
                f'{in_one_line(error)}; look at the settings of the model, its losses and the '
                'pipeline: the images are not the cause') from error
        advice = 'look at these, their annotations, and whether pipeline and model fit each other' \
            if loop.passed or alone else 'no step has passed yet, so it may be these images or ' \
            'the settings: start one process, which tries other images and says which'
        raise InputError(
            f'{work} failed on {", ".join(names)}: {in_one_line(error)}; {advice}') from error


def _fails_without(loader, error, attempt, copies):
    """Whether batches without a common image fail all, as the first one did."""
    try:
        batches = _batches_of_one(loader, copies)
    except Exception:  # whatever the data set is: nothing is known then
        return False
    return len(batches) > 1 and all(_fails_alike(attempt, batch, error) for batch in batches)


def _batches_of_one(loader: DataLoader, copies: int) -> list[Any]:
    """Batches that hold one image each, twice where batch norm needs two."""
    dataset: Any = loader.dataset
    samples: dict[Any, Any] = {}
    for index in evenly(range(len(dataset)), IMAGES):
        for sample in dataset.__getitems__([index]):
            names = images(loader.collate_fn([sample]))
            samples.setdefault(index if names == UNKNOWN else tuple(names), sample)
    return [loader.collate_fn([copy.deepcopy(sample) for _ in range(copies)])
            for sample in samples.values()]


def _fails_alike(attempt, batch, error):
    try:
        attempt(batch)
    except Exception as other:
        return _place(other) == _place(error)
    return False


def _place(error):
    """The class of an error, and where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return type(error), frame.filename, frame.lineno
