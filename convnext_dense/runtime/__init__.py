"""Training that can be killed at any instant: checkpoints, exact resume, guards, the start line."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'channels_last': ['ChannelsLastHook'],
    'checkpoint_hook': ['CheckpointHook'],
    'cuda_graphs_hook': ['CudaGraphsHook'],
    'float32_predictions': ['Float32PredictionsHook'],
    'loops': ['EpochBasedTrainLoop', 'IterBasedTrainLoop', 'TestLoop', 'ValLoop'],
    'runner': ['Runner'],
})
