"""ConvNeXt for dense prediction on OpenMMLab: backbone, recipes, weights, evaluation.

Importing the package costs nothing: a class is imported when it is first named, either as
``convnext_dense.ConvNeXt`` or by a config's ``type='convnext_dense.ConvNeXt'``.
"""
from importlib import import_module

__version__ = '0.1.0'

_HOMES = {
    'ConvNeXt': 'convnext_dense.models',
    'RoIAlign': 'convnext_dense.models',
    'SingleRoIExtractor': 'convnext_dense.models',
    'LearningRateDecayOptimizerConstructor': 'convnext_dense.optim',
    'load_weights': 'convnext_dense.checkpoints',
    'CocoMetric': 'convnext_dense.evaluation',
    'IoUMetric': 'convnext_dense.evaluation',
    'InputError': 'convnext_dense.errors',
}

__all__ = ['__version__', *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'convnext_dense' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
