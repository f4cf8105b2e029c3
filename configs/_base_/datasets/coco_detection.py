"""COCO's boxes: the images and augmentation of coco_instance.py without masks."""
_base_ = 'coco_instance.py'


def without_masks(steps):
    """A pipeline that loads no masks, at any depth."""
    if isinstance(steps, (list, tuple)):
        return [without_masks(step) for step in steps]
    if steps.type == 'LoadAnnotations':
        return dict(steps, with_mask=False)
    if 'transforms' in steps:
        return dict(steps, transforms=without_masks(steps.transforms))
    return steps


train_pipeline = without_masks(_base_.train_pipeline)
test_pipeline = without_masks(_base_.test_pipeline)
tta_pipeline = without_masks(_base_.tta_pipeline)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(metric=['bbox'])
test_evaluator = val_evaluator
