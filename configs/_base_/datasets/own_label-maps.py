"""Label maps in the layout that `convnext-dense new` writes; a config adds root and classes."""
_base_ = 'ade20k_format.py'

train_dataloader = dict(batch_size=4)
# each validation writes its report over that of the one before
val_evaluator = dict(report=True)
