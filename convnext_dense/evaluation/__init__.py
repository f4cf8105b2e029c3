"""COCO and ADE20K metrics: exact, fast, the same for any number of processes."""
from .coco_metric import CocoMetric
from .iou_metric import IoUMetric

__all__ = ['CocoMetric', 'IoUMetric']
