"""Training that can be killed at any instant: checkpoints, exact resume, guards, the start line."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'checkpoint_hook': ['CheckpointHook'],
    'drawing_hook': ['DrawingHook'],
    'ema_hook': ['EMAHook'],
    'local_images': ['LocalVisBackend'],
    'loops': ['EpochBasedTrainLoop', 'IterBasedTrainLoop', 'TestLoop', 'ValLoop'],
    'prepare_hook': ['PrepareHook'],
    'runner': ['Runner'],
    'weighted_sampler': ['WeightedInfiniteSampler'],
})
