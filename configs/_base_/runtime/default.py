"""What detection and segmentation share outside model, data and schedule."""
env_cfg = dict(
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='convnext_dense.CheckpointHook', max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    report=dict(type='convnext_dense.RunReportHook'))
randomness = dict(seed=0)
vis_backends = [dict(type='LocalVisBackend')]
log_level = 'INFO'
load_from = None
resume = False
