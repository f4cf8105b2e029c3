"""A detector's or segmenter's evaluation as files; the layout is in docs/evaluation.md.

The metrics know these writers by name alone, ``FUNCTIONS.get('convnext_dense.<name>')``.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'detection': ['write_detection_report'],
    'segmentation': ['write_segmentation_report'],
})
