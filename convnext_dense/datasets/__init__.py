"""Data sets: the embedded one, COCO's files, the benchmarks' files, what a config names."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'coco_dataset': ['CocoDataset'],
    'loading': ['LoadAnnotations'],
    'panoptic': ['LoadPanopticAnnotations'],
})
