"""Training that can be killed at any instant: checkpoints, exact resume, guards, the start line."""
from convnext_dense.runtime.channels_last import ChannelsLastHook
from convnext_dense.runtime.checkpoint_hook import CheckpointHook
from convnext_dense.runtime.cuda_graphs_hook import CudaGraphsHook
from convnext_dense.runtime.float32_predictions import Float32PredictionsHook
from convnext_dense.runtime.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from convnext_dense.runtime.runner import Runner

__all__ = ['ChannelsLastHook', 'CheckpointHook', 'CudaGraphsHook', 'EpochBasedTrainLoop',
           'Float32PredictionsHook', 'IterBasedTrainLoop', 'Runner', 'TestLoop', 'ValLoop']
