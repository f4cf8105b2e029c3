"""ConvNeXt-T in UperNet, from ImageNet's weights: what `convnext-dense new` takes on a GPU."""
_base_ = [
    '../_base_/models/upernet_512x512.py',
    '../_base_/datasets/own_label-maps.py',
    '../_base_/schedules/fine-tuning.py',
    '../_base_/runtime/segmentation.py',
]

loss = dict(avg_non_ignore=True)  # pixels without a class are no part of the mean
model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.2,
        layer_scale_init_value=1.0),
    decode_head=dict(in_channels=[96, 192, 384, 768], loss_decode=loss),
    auxiliary_head=dict(in_channels=384, loss_decode=loss))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best='mIoU'))
log_processor = dict(window_size=10)
