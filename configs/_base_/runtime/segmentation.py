"""Runtime of a segmenter: logs and checkpoints by iteration."""
_base_ = 'default.py'

default_scope = 'mmseg'
env_cfg = dict(cudnn_benchmark=True)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=16000, save_best='mIoU'),
    visualization=dict(type='SegVisualizationHook'))
# without a name: each run of a process gets its own, in its own folder
visualizer = dict(type='SegLocalVisualizer', vis_backends={{_base_.vis_backends}})
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
