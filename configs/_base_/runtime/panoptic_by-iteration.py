"""Runtime of a panoptic segmenter: the best weights are those of the panoptic quality."""
_base_ = 'detection_by-iteration.py'

default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ', rule='greater'))
