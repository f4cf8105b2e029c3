"""Private names of torch; ``tests/private`` says what an upgrade changed."""
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called before or after a module's forward or backward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or
                module._backward_pre_hooks)


def forward_hooks(module: nn.Module) -> list:
    """The functions that are called after a module's forward pass."""
    return list(module._forward_hooks.values())


def forward_pre_hooks(module: nn.Module) -> list:
    """The functions that are called before a module's forward pass."""
    return list(module._forward_pre_hooks.values())


def convolve_as(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a convolution computes, with other parameters; subclasses differ in this method."""
    return conv._conv_forward(x, weight, bias)


def linear_operator() -> Any:
    """oneDNN's linear layers with something after them, or None in builds without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, '_linear_pointwise', None)


def row_products(vectors: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """The product of each vector with its rows of a table: (N, C), (rows, C), (N, K) to (N, K).

    It is the gradient of ``embedding_bag`` for the weights, without another forward pass.
    """
    bags = torch.arange(len(rows), dtype=rows.dtype)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        vectors, table, rows.flatten(), bags * rows.shape[1],
        bags.repeat_interleave(rows.shape[1]), 0).view_as(rows)


def norms(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """The 2-norm of each tensor, in few launches."""
    return torch._foreach_norm(tensors)


def shut_down_workers(loader: DataLoader, iterator: Iterator) -> None:
    """End the data workers of an iterator over a data loader; without workers nothing happens.

    The garbage collector does not: where it finds an iterator in a cycle, the queue that tells
    the workers to end is closed first, and each of them is waited for ten seconds.
    """
    if hasattr(iterator, '_shutdown_workers'):
        iterator._shutdown_workers()
        loader._iterator = None  # of persistent workers, or the next pass asks ended ones


def mark_dynamic(x: Tensor, dim: int) -> None:
    """Tell the compiler that a side of a tensor changes from call to call."""
    torch._dynamo.maybe_mark_dynamic(x, dim)


def compiling_for_any_size() -> AbstractContextManager:
    """Equal sides of the first input are not taken for equal for ever.

    A layout of inductor's own choice fails to compile (torch 2.13) with sizes as unknowns.
    """
    import torch._inductor.config as inductor
    import torch.fx.experimental._config as shapes
    stack = ExitStack()
    stack.enter_context(shapes.patch(use_duck_shape=False))  # type: ignore[attr-defined]
    stack.enter_context(inductor.patch(layout_optimization=False))
    return stack


def compile_package(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compile a program ahead of time, into a package (.pt2) with a shared library."""
    import torch._inductor as inductor
    inductor.aoti_compile_and_package(program, package_path=str(path))


def load_package(path: Path) -> Callable:
    """What :func:`compile_package` wrote, as a function of tensors; its library is loaded."""
    import torch._inductor as inductor
    return inductor.aoti_load_package(str(path))


def is_compiler_error(error: Exception) -> bool:
    """Whether torch's compiler failed, and not the model that it compiled."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import
    return isinstance(error, TorchDynamoException)
