"""The dicts of a config, and the names of their types."""
from collections.abc import Iterator, Mapping
from typing import Any

#: batch norms of several processes, by name and by class
SYNCHRONISED_NORMS = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


def nested(node: Any) -> Iterator[dict]:
    """Every dict inside ``node``, itself included."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for child in node:
        yield from nested(child)


def type_name(node: Any) -> str | None:
    """The name of a config's ``type`` without scope or module, or None.

    A type may be a string (``'mmdet.DetDataSample'``, ``'CocoDataset'``), or the class itself in
    mmengine's pure-Python configs. Every comparison of types in the package asks here.
    """
    kind = node.get('type') if isinstance(node, dict) else None
    if isinstance(kind, str):
        return kind.rpartition('.')[2]
    return getattr(kind, '__name__', None)


def full_type_name(node: Mapping) -> str:
    """The text of a config's ``type``: a string as written, a class with its module, else ''."""
    kind = node.get('type')
    return kind if isinstance(kind, str) else '' if kind is None else \
        f'{getattr(kind, "__module__", "")}.{getattr(kind, "__name__", kind)}'
