"""ConvNeXt V2-Atto in a small Faster R-CNN: boxes alone, for a CPU."""
_base_ = 'mask-rcnn_convnextv2-atto.py'

load = dict(with_mask=False)
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None))
val_evaluator = dict(metric=['bbox'])
test_evaluator = dict(metric=['bbox'])
