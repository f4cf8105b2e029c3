"""Random state of Python, numpy and torch: kept in checkpoints, and set for each sample."""
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """The state of every generator that a training step draws from, as plain values.

    Returns:
        dict: lists, numbers and tensors, which a safe reader of checkpoints accepts.
    """
    version, numbers, gauss = random.getstate()
    numpy_state: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = numpy_state
    state = dict(python=[version, list(numbers), gauss],
                 numpy=[name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss,
                        cached],
                 torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Set what :func:`random_state` returned."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def seed_all(*numbers: int) -> None:
    """Seed Python, numpy and torch's CPU generator from a tuple of numbers."""
    words = np.random.SeedSequence([int(number) for number in numbers]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed(int(words[2]))


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Inside, draws follow from ``numbers`` alone; afterwards they go on as if nothing happened."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(*numbers)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
