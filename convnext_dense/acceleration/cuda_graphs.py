"""Inference with CUDA graphs: one launch for all kernels of a module, for sizes that repeat.

A small batch on a fast GPU waits for its launches. A graph records them once for a size and
replays them in one.
"""
from collections.abc import Callable

import torch
from torch import Tensor, nn

WARM_UPS = 3  # kernels are compiled and their plans measured before a capture, never in it


class Graphed:
    """A module's forward that replays a CUDA graph for each size of its input.

    While gradients are recorded or the module trains, on a CPU, under ``torch.compile``, and for
    more sizes than ``most``, the module runs as it is. Weights may be changed in place, but not
    replaced or moved.

    Args:
        module (nn.Module): takes one tensor and gives a tensor or a tuple of tensors.
        most (int): sizes that get a graph; each keeps its own memory.
        capture (Callable, optional): makes a replaying function, see :func:`capture_graph`.
    """

    def __init__(self, module: nn.Module, most: int = 4, capture: Callable | None = None) -> None:
        self.module, self.most = module, most
        self.forward = type(module).forward
        self.capture = capture or capture_graph
        self.graphs: dict[tuple, Callable] = {}

    def __call__(self, x: Tensor) -> Tensor:
        if not self._fits(x):
            return self.forward(self.module, x)
        # a graph that was captured in inference mode holds tensors that nothing else may write to
        key = (x.shape, x.stride(), x.dtype, x.device, torch.is_inference_mode_enabled(),
               torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type))
        with torch.cuda.device_of(x):
            if key not in self.graphs:
                if len(self.graphs) >= self.most:
                    return self.forward(self.module, x)
                self.graphs[key] = self.capture(lambda x: self.forward(self.module, x), x)
            return self.graphs[key](x)

    def _fits(self, x):
        return x.is_cuda and not self.module.training and not torch.is_grad_enabled() and \
            not torch.compiler.is_compiling()


def use_cuda_graphs(module: nn.Module, most: int = 4) -> nn.Module:
    """Let a module replay CUDA graphs in inference; see :class:`Graphed`.

    Args:
        module (nn.Module): for example the backbone of a segmenter, whose crops have one size.

    Returns:
        nn.Module: the module.
    """
    module.forward = Graphed(module, most)
    return module


def capture_graph(forward: Callable, x: Tensor) -> Callable:
    """Record what ``forward`` does with maps like ``x``.

    Returns:
        Callable: gives copies of the results for other maps of the same size.
    """
    held, kind = x.clone(), x.device.type
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    # autocast's cache of weights is emptied after this step, and a graph would go on reading it
    with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind),
                        cache_enabled=False):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                forward(held)
        torch.cuda.current_stream().wait_stream(side)
        # threads that pin memory for the next batch may go on
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):
            results = forward(held)

    def replay(x):
        held.copy_(x)
        graph.replay()
        if torch.is_tensor(results):
            return results.clone()
        return tuple(result.clone() for result in results)
    return replay
