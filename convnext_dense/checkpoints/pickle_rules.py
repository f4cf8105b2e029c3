"""What a pickle asks for, decided before anything reads it.

A pickle is a program: it fetches callables by name and calls them with arguments of its own. Here
the program is walked through without running it. Each callable that checkpoints name has a rule
for its arguments, so a tensor lies inside its storage, text is encoded one way only, and nothing
else is called. What the rules cannot see (the content of arrays) is checked while it is read, by
:mod:`convnext_dense.checkpoints.rebuilders`.
"""
import _compat_pickle
import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

DEPTH = 50  # hash() of tuples nested deeper by far overflows the interpreter's stack
ITEM_BYTES = dict(Double=8, Float=4, Half=2, BFloat16=2, Long=8, Int=4, Short=2, Char=1, Byte=1,
                  Bool=1, ComplexDouble=16, ComplexFloat=8)
STORAGES = {f'torch.{name}Storage': size for name, size in ITEM_BYTES.items()}
ARRAY, DTYPE = 'numpy.ndarray', 'numpy.dtype'
HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
NAMESPACE, ORDERED = 'argparse.Namespace', 'collections.OrderedDict'
TENSOR = 'torch.Tensor'


class Forbidden(ValueError):
    """A pickle asks for what no checkpoint needs; the message says what."""


class Name(str):
    """A global: ``module.name``."""


@dataclass(frozen=True)
class Items:
    """A tuple, and how deeply tuples are nested in it."""
    values: tuple
    depth: int


@dataclass(eq=False)
class Box:
    """A list, dict or set, whose content plays no part."""
    filled: bool = False


@dataclass(frozen=True)
class Storage:
    """The values of one record: how many."""
    count: int


@dataclass(frozen=True)
class Made:
    """What a call gave."""
    kind: str


def _no_argument(values: tuple) -> bool:
    return not values


def _one_container(values: tuple) -> bool:
    return len(values) < 2 and all(isinstance(value, (Box, Items)) for value in values)


def _text_of_bytes(values: tuple) -> bool:
    return len(values) == 2 and isinstance(values[0], str) and values[1] == 'latin1' and \
        not isinstance(values[0], Name)


def _device(values: tuple) -> bool:
    return 1 <= len(values) <= 2 and isinstance(values[0], str) and all(
        isinstance(value, int) for value in values[1:])


def _tensor(values: tuple) -> bool:
    """Whether a tensor lies inside its storage: (storage, offset, sizes, strides, ...)."""
    if len(values) < 4 or not isinstance(values[0], Storage):
        return False
    storage, offset, sizes, strides = values[:4]
    sizes, strides = _numbers(sizes), _numbers(strides)
    if not _is_count(offset) or sizes is None or strides is None or len(sizes) != len(strides):
        return False
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides))
    return 0 in sizes or last < storage.count


def _tensor_v2(values: tuple) -> bool:
    """(storage, offset, sizes, strides, requires_grad, hooks[, metadata])."""
    return 6 <= len(values) <= 7 and isinstance(values[4], bool) and _tensor(values) and all(
        value is None or isinstance(value, Box) and not value.filled for value in values[6:]) and (
        values[5] is None or values[5] == Made(ORDERED))


def _parameter(values: tuple) -> bool:
    return len(values) == 3 and values[0] == Made(TENSOR) and isinstance(values[1], bool) and (
        values[2] is None or values[2] == Made(ORDERED))


def _checked_while_read(values: tuple) -> bool:
    return True


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _numbers(value: Any) -> tuple | None:
    values = value.values if isinstance(value, Items) else value
    return values if isinstance(values, tuple) and all(map(_is_count, values)) else None


#: callable -> rule of its arguments, and the kind of what it gives
RULES: dict[str, tuple[Callable[[tuple], bool], str]] = {
    ORDERED: (_one_container, ORDERED),
    'collections.Counter': (_one_container, 'Counter'),
    'builtins.set': (_one_container, 'set'),
    '_codecs.encode': (_text_of_bytes, 'bytes'),
    'torch.Size': (_one_container, 'torch.Size'),
    'torch.device': (_device, 'torch.device'),
    'torch._utils._rebuild_tensor': (lambda values: len(values) == 4 and _tensor(values), TENSOR),
    'torch._utils._rebuild_tensor_v2': (_tensor_v2, TENSOR),
    'torch._utils._rebuild_parameter': (_parameter, TENSOR),
    DTYPE: (_checked_while_read, DTYPE),
    HISTORY: (_no_argument, HISTORY),
    NAMESPACE: (_no_argument, NAMESPACE),
    'builtins.slice': (_checked_while_read, 'slice'),
    'builtins.getattr': (_checked_while_read, 'method'),
    **{f'numpy.{core}.multiarray.{name}': (_checked_while_read, kind)
       for core in ('core', '_core') for name, kind in (('_reconstruct', ARRAY),
                                                        ('scalar', 'scalar'))}}
#: what may be given a state after it was made
WITH_STATE = {ARRAY, DTYPE, HISTORY, NAMESPACE, ORDERED}


def is_allowed(name: str) -> bool:
    """Whether a checkpoint may mention a global."""
    return name in RULES or name in STORAGES or name == ARRAY or (
        name.startswith('torch.') and isinstance(vars(torch).get(name[6:]), torch.dtype))


def names_in(pickle: BinaryIO) -> set[str]:
    """``module.name`` of every global that a pickle mentions, as far as it can be read."""
    names: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name in ('GLOBAL', 'INST'):
                names.add(global_name(str(argument)))
            elif opcode.name == 'STACK_GLOBAL' and len(strings) >= 2:
                names.add('.'.join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:  # what was found before a tear still counts
        pass
    return names


def global_name(argument: str) -> str:
    """Protocol 2, which torch.save writes, gives modules the names of Python 2."""
    module, _, name = argument.partition(' ')
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f'{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}'


def check_pickle(pickle: BinaryIO) -> dict[str, int]:
    """Walk through one pickle without running it.

    Args:
        pickle: a binary file at the pickle's first byte; it is left after its last.

    Returns:
        dict: key and bytes of each storage that the pickle wants.

    Raises:
        Forbidden: it calls something with arguments that no checkpoint needs.
        Exception: of many kinds, where it is torn.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(pickle):
        machine.step(opcode.name, argument)
    return machine.storages


class _Machine:
    """The stack of a pickle, with what plays no part left out."""

    def __init__(self) -> None:
        self.stack: list = []
        self.marked: list[list] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, int] = {}
        self._known: dict[str, tuple[str, int]] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode] if argument is None else argument)
        elif opcode in _HANDLERS:
            _HANDLERS[opcode](self, argument)
        else:
            raise Forbidden(f'it uses the pickle instruction {opcode}, which torch.save does not')

    def pop_mark(self) -> list:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _tuple(self, values: Iterable) -> None:
        values = tuple(values)
        depth = 1 + max((value.depth for value in values if isinstance(value, Items)), default=0)
        if depth > DEPTH:
            raise Forbidden(f'it nests tuples more than {DEPTH} deep')
        self.stack.append(Items(values, depth))

    def _last(self, count: int) -> None:
        values = self.stack[-count:]
        del self.stack[-count:]
        self._tuple(values)

    def _fill(self, count: int | None) -> None:
        items = self.pop_mark() if count is None else [self.stack.pop() for _ in range(count)]
        target = self.stack[-1]
        if isinstance(target, Box):
            target.filled = target.filled or bool(items)
        elif not isinstance(target, Made) or target.kind not in (ORDERED, 'Counter'):
            raise Forbidden('it sets items of what is neither list nor dict')

    def _call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        rule, kind = RULES.get(function, (None, '')) if isinstance(function, Name) else (None, '')
        if rule is None:
            raise Forbidden(f'it calls {_told(function)}')
        if not isinstance(arguments, Items) or not rule(arguments.values):
            raise Forbidden(f'it calls {function} with arguments that no checkpoint needs')
        self.stack.append(Made(kind))

    def _state(self, _: Any) -> None:
        self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Made) or target.kind not in WITH_STATE:
            raise Forbidden(f'it gives a state to {_told(target)}')

    def _storage(self, _: Any) -> None:
        pid = self.stack.pop()
        values = pid.values if isinstance(pid, Items) else ()
        # 'storage', its type, its key, the device, the number of values; legacy: None
        word, kind, key, _, count = values[:5] if len(values) in (5, 6) else (None, ) * 5
        if word not in ('storage', b'storage') or kind not in STORAGES or not isinstance(
                key, (str, bytes)) or not _is_count(count) or any(
                    value is not None for value in values[5:]):
            raise Forbidden('it names a storage in a way that torch.save does not')
        key = key if isinstance(key, str) else key.decode('ascii')
        if self._known.setdefault(key, (str(kind), count)) != (kind, count):
            raise Forbidden(f'it gives the storage {key!r} two sizes or types')
        self.storages[key] = count * STORAGES[kind]
        self.stack.append(Storage(count))

    def _name(self, argument: str) -> None:
        name = global_name(argument)
        if not is_allowed(name):
            raise Forbidden(f'it wants {name}')
        self.stack.append(Name(name))

    def _put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _get(self, place: int) -> None:
        self.stack.append(self.memo[place])


def _told(value: Any) -> str:
    if isinstance(value, Made):
        return f'a {value.kind}'
    return str(value) if isinstance(value, Name) else f'a {type(value).__name__}'


_CONSTANTS = dict(NONE=None, NEWTRUE=True, NEWFALSE=False, BININT=0, BININT1=0, BININT2=0,
                  BINFLOAT=0., BINUNICODE='', SHORT_BINSTRING=b'', LONG1=0)
_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = dict(
    PROTO=lambda machine, _: None, STOP=lambda machine, _: None, MARK=_Machine._mark,
    EMPTY_DICT=lambda machine, _: machine.stack.append(Box()),
    EMPTY_LIST=lambda machine, _: machine.stack.append(Box()),
    EMPTY_SET=lambda machine, _: machine.stack.append(Box()),
    EMPTY_TUPLE=lambda machine, _: machine._tuple(()),
    TUPLE=lambda machine, _: machine._tuple(machine.pop_mark()),
    TUPLE1=lambda machine, _: machine._last(1), TUPLE2=lambda machine, _: machine._last(2),
    TUPLE3=lambda machine, _: machine._last(3),
    APPEND=lambda machine, _: machine._fill(1), APPENDS=lambda machine, _: machine._fill(None),
    SETITEM=lambda machine, _: machine._fill(2), SETITEMS=lambda machine, _: machine._fill(None),
    NEWOBJ=_Machine._call, REDUCE=_Machine._call, BUILD=_Machine._state,
    BINPERSID=_Machine._storage, GLOBAL=_Machine._name,
    BINPUT=_Machine._put, LONG_BINPUT=_Machine._put,
    BINGET=_Machine._get, LONG_BINGET=_Machine._get)
