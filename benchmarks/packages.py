"""Importing the implementations by others that tests and benchmarks compare with.

torchvision, which timm and mmpretrain need, has no CPU build on PyPI. Its CUDA build imports
beside a CPU torch once two of its operators are declared, but breaks mmdet where they are not;
so the set-up keeps it in ``<environment>/peers``, which this module puts on the path while it
imports it, and no longer: a process that inherits the path must not find it.
"""
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PEERS = Path(sys.prefix) / 'peers'
_declared = None


class MissingPackage(ImportError):
    """A package of the extra ``peers`` is not installed."""


def import_torchvision():
    global _declared
    if 'torchvision' in sys.modules:
        return sys.modules['torchvision']
    sys.path.append(str(PEERS))
    try:
        if find_spec('torchvision') is None:
            raise MissingPackage('torchvision is not installed (extra: peers)')
        import torch
        if torch.version.cuda is None:
            _declared = torch.library.Library('torchvision', 'DEF')
            _declared.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
            _declared.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        return import_module('torchvision')
    finally:
        sys.path.remove(str(PEERS))


def _import(name):
    if find_spec(name) is None:
        raise MissingPackage(f'{name} is not installed (extra: peers)')
    return import_module(name)


def import_timm():
    import_torchvision()
    return _import('timm')


def import_transformers():
    import_torchvision()
    return _import('transformers')


def import_open_clip():
    import_torchvision()
    return _import('open_clip')


def import_mmpretrain():
    import_torchvision()
    _import('mmpretrain.models')
    return sys.modules['mmpretrain']
