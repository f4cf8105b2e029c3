"""What stands for numpy's, mmengine's and argparse's objects while a checkpoint is read.

A pickle gets these narrow classes in the place of the real ones: they take the states that the
real ones write, of plain number and text types only, and check every size. :func:`plain` then
makes the real objects of them, and of everything else fresh containers.
"""
import argparse
import math
import re
import sys
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch

from convnext_dense.checkpoints.pickle_rules import (
    ARRAY,
    DTYPE,
    HISTORY,
    NAMESPACE,
    Forbidden,
)

NODES = 20_000_000  # values in all, shared ones counted each time
DEPTH = 100  # of containers in containers
_LEAVES = (bool, int, float, str, bytes, torch.dtype, torch.Size, torch.device, np.generic)


class Dtype:
    """numpy.dtype: numbers and text of a fixed length."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(code, str) or not re.fullmatch(r'\?|[biufcSU][1-9]\d{0,6}', code):
            raise Forbidden(f'it wants the numpy type {code!r}')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ('<', '>', '=', '|') \
                or any(type(value) not in (int, str, type(None)) for value in state):
            raise Forbidden('it gives a numpy type a state that numpy does not write')
        dtype = self.dtype.newbyteorder(state[1])
        if dtype.__reduce__()[2] != state:
            raise Forbidden('it gives a numpy type a state that numpy does not write')
        self.dtype = dtype


class Array:
    """numpy.ndarray: exactly the bytes that its shape and type take."""
    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Forbidden('it gives an array a state that numpy does not write')
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, Dtype) or not isinstance(raw, bytes) or not isinstance(
                shape, tuple) or not all(type(size) is int and size >= 0 for size in shape) or \
                len(shape) > 32 or math.prod(shape) * dtype.dtype.itemsize != len(raw):
            raise Forbidden('it gives an array a shape, type and bytes that do not fit')
        self.value = np.ndarray(shape, dtype.dtype, bytearray(raw), order='F' if fortran is True
                                else 'C')
        _check_text(self.value)


def _check_text(array: np.ndarray) -> None:
    """numpy makes texts of numbers that are no characters, which Python cannot work with."""
    if array.dtype.kind == 'U' and array.size:
        numbers = array.reshape(-1).view(np.dtype('u4').newbyteorder(array.dtype.byteorder))
        if numbers.max() > sys.maxunicode:
            raise Forbidden('it holds a text of what are no characters')


def reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    """numpy's maker of an empty array, which then gets its state."""
    if kind is not Array or shape != (0, ) or code not in (b'b', 'b'):
        raise Forbidden('it makes an array in a way that numpy does not')
    return Array()


def scalar(dtype: Any, raw: Any) -> np.generic:
    """One number or text of a numpy type."""
    if not isinstance(dtype, Dtype) or not isinstance(raw, bytes) or \
            len(raw) != dtype.dtype.itemsize:
        raise Forbidden('it makes a number of a numpy type from bytes that do not fit')
    value = np.frombuffer(raw, dtype.dtype)
    _check_text(value)
    return value[0]


class History:
    """mmengine's HistoryBuffer."""
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Namespace:
    """argparse.Namespace, in which the official releases keep their options."""
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def history_method(owner: Any, name: Any) -> str:
    """What ``getattr`` may fetch: the statistics of a HistoryBuffer, which it names anyway.

    Checkpoints of OpenMMLab name those methods through getattr; getattr itself would open the
    way to everything else.
    """
    if owner is History and name in ('min', 'max', 'mean', 'current'):
        return name
    raise Forbidden(f'it wants getattr({_short(owner)}, {_short(name)})')


def make_slice(*bounds: Any) -> slice:
    """A slice of whole numbers."""
    if not 1 <= len(bounds) <= 3 or any(type(bound) not in (int, type(None)) for bound in bounds):
        raise Forbidden('it makes a slice of what are no whole numbers')
    return slice(*bounds)


#: as torch.serialization.safe_globals takes them: (what is called, the name in the file).
#: numpy moved its core in 2.0, so files name the same functions in two ways.
ALLOWED: list[Any] = [(Array, ARRAY), (Dtype, DTYPE), (History, HISTORY), (Namespace, NAMESPACE),
           (history_method, 'builtins.getattr'), (make_slice, 'builtins.slice'),
           *((function, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
             for function, name in ((reconstruct, '_reconstruct'), (scalar, 'scalar')))]


def plain(value: Any) -> Any:
    """What was read as fresh containers of numbers, text, arrays and tensors.

    Tensors and containers that were shared stay shared. Attributes that a file gave to an object
    are left out, but for the versions that torch keeps with a state dict.

    Raises:
        Forbidden: it holds itself, is nested too deep, or holds anything else.
    """
    return _Plain().convert(value, 0)[0]


class _Plain:

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, int]] = {}
        self.open: set[int] = set()

    def convert(self, value: Any, depth: int) -> tuple[Any, int]:
        """A value made plain, and how many values it holds."""
        if value is None or isinstance(value, _LEAVES):
            return value, 1
        key = id(value)
        if key not in self.done:
            if key in self.open:
                raise Forbidden('it holds a container that holds itself')
            if depth > DEPTH:
                raise Forbidden(f'it is nested more than {DEPTH} deep')
            self.open.add(key)
            self.done[key] = self._convert(value, depth + 1)
            self.open.remove(key)
            if self.done[key][1] > NODES:
                raise Forbidden(f'it holds more than {NODES} values')
        return self.done[key]

    def _convert(self, value: Any, depth: int) -> tuple[Any, int]:
        kind = type(value)
        if kind in (torch.Tensor, torch.nn.Parameter):
            return value.detach(), 1
        if kind in (list, tuple, set):
            pairs = [self.convert(item, depth) for item in value]
            return kind(item for item, _ in pairs), 1 + sum(count for _, count in pairs)
        if kind in (dict, OrderedDict, Counter):
            return self._mapping(value, depth)
        if kind is Array:
            if value.value is None:
                raise Forbidden('it holds an array without values')
            return value.value, 1
        if kind is slice:
            return value, 1
        if kind is Namespace and isinstance(value.state, dict):
            state, count = self.convert(value.state, depth)
            if all(isinstance(key, str) for key in state):
                return argparse.Namespace(**state), count
        if kind is History and isinstance(value.state, dict):
            return self._history(value.state), 1
        raise Forbidden(f'it holds a {_short(value)}')

    def _mapping(self, value: dict, depth: int) -> tuple[dict, int]:
        fresh, total = type(value)(), 1
        # not value.items(): a file can give an OrderedDict an attribute of that name
        kind = OrderedDict if type(value) is OrderedDict else dict
        for key, item in kind.items(value):
            converted, count = self.convert(item, depth)
            name, _ = self.convert(key, depth)
            fresh[name] = converted
            total += count + 1
        versions = getattr(value, '__dict__', {}).get('_metadata')
        if type(versions) in (dict, OrderedDict):
            fresh._metadata = self.convert(versions, depth)[0]  # type: ignore[attr-defined]
        return fresh, total

    def _history(self, state: dict) -> Any:
        from mmengine.logging.history_buffer import HistoryBuffer
        numbers = [state.get(key) for key in ('_log_history', '_count_history')]
        values = [array.value for array in numbers if isinstance(array, Array)
                  and array.value is not None]
        longest = state.get('max_length', 1_000_000)
        if len(values) != 2 or any(array.ndim != 1 or array.dtype.kind not in 'biuf'
                                   for array in values) or \
                len(values[0]) != len(values[1]) or type(longest) is not int or longest < 1:
            raise Forbidden('it holds a history of values that mmengine does not write')
        return HistoryBuffer(values[0][-longest:], values[1][-longest:], longest)


def _short(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return repr(value)[:40] if isinstance(value, (str, bytes)) else kind.__name__
