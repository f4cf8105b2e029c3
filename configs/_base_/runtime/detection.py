"""Runtime of a detector: logs and checkpoints by epoch."""
_base_ = 'default.py'

default_scope = 'mmdet'
# the images of a batch differ in size, so that searching for the fastest convolution costs time
env_cfg = dict(cudnn_benchmark=False)
default_hooks = dict(
    checkpoint=dict(by_epoch=True, interval=1, save_best='coco/bbox_mAP'),
    visualization=dict(type='DetVisualizationHook'))
# without a name: each run of a process gets its own, in its own folder
visualizer = dict(type='DetLocalVisualizer', vis_backends={{_base_.vis_backends}})
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
