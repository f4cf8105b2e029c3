"""CUDA graphs for the backbone while a run validates or tests."""
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper

from convnext_dense.acceleration.cuda_graphs import use_cuda_graphs
from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class CudaGraphsHook(Hook):
    """Replays CUDA graphs of the backbone in inference, for images or crops of few sizes.

    Args:
        most (int): sizes that get a graph, each with memory of its own.
    """

    def __init__(self, most=4):
        self.most = most

    def before_run(self, runner):
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        use_cuda_graphs(model.backbone, self.most)
