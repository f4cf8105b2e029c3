"""RTMDet of size tiny, for small backbones and small batches on each device.

A config adds the backbone, with the outputs of its last three stages, and ``neck.in_channels``.
"""
_base_ = 'rtmdet-l.py'

norm_cfg = dict(_delete_=True, type='SyncBN')
model = dict(
    neck=dict(out_channels=96, num_csp_blocks=1, norm_cfg=norm_cfg),
    bbox_head=dict(in_channels=96, feat_channels=96, exp_on_reg=False, norm_cfg=norm_cfg))
