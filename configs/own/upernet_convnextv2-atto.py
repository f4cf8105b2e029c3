"""ConvNeXt V2-Atto in a small UperNet: what `convnext-dense new` takes on a CPU."""
_base_ = [
    '../_base_/models/upernet-64.py',
    '../_base_/datasets/own_label-maps.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]

loss = dict(avg_non_ignore=True)  # pixels without a class are no part of the mean
model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt', arch='atto', use_grn=True, layer_scale_init_value=0.),
    decode_head=dict(in_channels=[40, 80, 160, 320], loss_decode=loss),
    auxiliary_head=dict(in_channels=160, loss_decode=loss))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best='mIoU'))
log_processor = dict(window_size=10)
