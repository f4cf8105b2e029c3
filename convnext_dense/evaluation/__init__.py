"""COCO and ADE20K metrics: exact, fast, the same for any number of processes."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'coco_metric': ['CocoMetric'],
    'iou_metric': ['IoUMetric'],
    'panoptic_metric': ['PanopticMetric'],
})
