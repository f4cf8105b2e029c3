"""AdamW with layer-wise learning-rate decay, ConvNeXt's recipe for COCO.

A config adds ``lr`` and ``decay_rate``.
"""
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='convnext_dense.LearningRateDecayOptimizerConstructor',
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_type='layer_wise'))
