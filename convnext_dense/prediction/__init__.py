"""A trained model in use: images in, boxes, masks and label maps out."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'predictor': ['Predictor'],
    'results': ['Instances', 'LabelMap', 'Panoptic'],
})
