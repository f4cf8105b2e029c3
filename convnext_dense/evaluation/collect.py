"""Bringing the results of all processes together, every image once."""
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.dist import (
    all_reduce,
    broadcast_object_list,
    collect_results,
    get_world_size,
    is_main_process,
)
from mmengine.logging import print_log

from convnext_dense.errors import InputError

Result = TypeVar('Result')


def collect_images(results: list[dict], key: str, device: str = 'cpu',
                   folder: str | None = None) -> list[dict] | None:
    """All processes' per-image results on the main process, in the order of their keys.

    Samplers pad the ranks' shares to one length by repeating images. mmengine cuts the padding
    off by counting, which is right only for its own sampler; here a repeated image is known by
    its key, so any sampler and any uneven share gives the same result.

    Args:
        results (list[dict]): this process's results.
        key (str): entry that identifies an image in every process.
        device (str): ``cpu`` (through files) or ``gpu`` (through the process group).
        folder (str, optional): shared folder for ``cpu``.

    Returns:
        list[dict] | None: on the main process; None on the others.
    """
    if get_world_size() > 1:
        total = torch.tensor(len(results))
        all_reduce(total)
        extra = {'tmpdir': folder} if device == 'cpu' else {}
        results = collect_results(results, int(total), device, **extra)
    if not is_main_process():
        return None
    unique: dict[Any, dict] = {}
    for result in results:
        unique.setdefault(result[key], result)
    if len(unique) < len(results):
        print_log(f'{len(results) - len(unique)} repeated images counted once', 'current')
    # ids of one file may be numbers and texts
    return [unique[name] for name in sorted(unique, key=lambda name: (isinstance(name, str), name))]


def on_main_process(compute: Callable[[], Result]) -> Result:
    """Run ``compute()`` on the main process and give every process its result, or its error."""
    message: list[Any] = [None, None]
    if is_main_process():
        try:
            message[0] = compute()
        except InputError as error:
            message[1] = str(error)
    broadcast_object_list(message)
    if message[1] is not None:
        raise InputError(message[1])
    return message[0]
