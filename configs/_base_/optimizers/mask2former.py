"""AdamW in float32, Mask2Former's recipe: a tenth of the learning rate in the backbone.

Norms, queries and level embeddings have no weight decay, nor have Swin's position biases.
"""
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='convnext_dense.BackboneFactorOptimizerConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        backbone_lr_factor=0.1,
        norm_decay_mult=0.,
        custom_keys={
            key: dict(decay_mult=0.)
            for key in ('query_embed', 'query_feat', 'level_embed', 'absolute_pos_embed',
                        'relative_position_bias_table')
        }),
    clip_grad=dict(max_norm=0.01, norm_type=2))
