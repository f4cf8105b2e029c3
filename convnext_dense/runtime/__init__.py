"""Training that can be killed at any instant: checkpoints, exact resume, guards, the start line."""
from convnext_dense.runtime.channels_last import ChannelsLastHook
from convnext_dense.runtime.checkpoint_hook import CheckpointHook
from convnext_dense.runtime.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from convnext_dense.runtime.runner import Runner

__all__ = ['ChannelsLastHook', 'CheckpointHook', 'EpochBasedTrainLoop', 'IterBasedTrainLoop',
           'Runner', 'TestLoop', 'ValLoop']
