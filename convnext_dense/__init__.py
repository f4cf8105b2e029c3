"""ConvNeXt for dense prediction on OpenMMLab: backbone, recipes, weights, evaluation.

Importing the package costs nothing: a class is imported when it is first named, either as
``convnext_dense.ConvNeXt`` or by a config's ``type='convnext_dense.ConvNeXt'``.
"""
import lazy_loader

__version__ = '0.1.0'

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'models': ['ConvNeXt'],
    'acceleration': ['Acceleration', 'prepare'],
    'detection': ['RoIAlign', 'SingleRoIExtractor'],
    'optim': ['LearningRateDecayOptimizerConstructor'],
    'checkpoints': ['load_weights', 'locate', 'read_checkpoint'],
    'evaluation': ['CocoMetric', 'IoUMetric', 'PanopticMetric'],
    'prediction': ['Predictor'],
    'runtime': ['Runner'],
    'errors': ['InputError'],
})
__all__ += ['__version__']
