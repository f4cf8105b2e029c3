"""Cascade R-CNN: the Cascade Mask R-CNN of cascade-mask-rcnn_fpn.py for boxes alone."""
_base_ = 'cascade-mask-rcnn_fpn.py'

model = dict(
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None))
