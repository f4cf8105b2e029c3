"""The small ConvNeXt V2 of the demo, and of the examples on its images, from nothing."""
small_backbone = dict(
    type='convnext_dense.ConvNeXt',
    arch=dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 256)),
    use_grn=True,
    layer_scale_init_value=0.,
    # weights of this size learn from the first step; the published ones are for long recipes
    init_cfg=dict(
        type='Kaiming',
        layer=['Conv2d', 'Linear'],
        mode='fan_in',
        distribution='normal'))
