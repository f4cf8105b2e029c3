"""AdamW with stage-wise learning-rate decay, ConvNeXt's recipe for ADE20K.

A config adds ``lr``.
"""
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='convnext_dense.LearningRateDecayOptimizerConstructor',
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_type='stage_wise', decay_rate=0.9))
