"""From a module to a graph, and from the graph to the files of the runtimes."""
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convnext_dense.errors import convert_errors
from convnext_dense.prediction.runtimes import import_runtime
from convnext_dense.private.torch import compile_package

OPSET = 18
#: what one file of protocol buffers holds at most is 2 GiB; larger weights lie beside it
MOST_BYTES = 1_900_000_000
#: sides of images that the graph is made for, in pixels
SIDES = (64, 16384)


def trace(network: nn.Module, inputs: Sequence[Tensor], multiple: int = 1,
          least: int = 1) -> torch.export.ExportedProgram:
    """The graph of a network whose first input, images (N, C, H, W), has any batch and size.

    Args:
        network (nn.Module): in evaluation mode.
        inputs (Sequence[Tensor]): an example; its batch must be larger than 1.
        multiple (int): what height and width divide by.
        least (int): the smallest height and width in pixels, where that is more than ``SIDES[0]``.

    Raises:
        InputError: torch cannot follow what the network does.
    """
    batch = torch.export.Dim('batch', max=2**16)
    least = max(least, SIDES[0])
    height, width = (torch.export.Dim(name, min=least // multiple, max=SIDES[1] // multiple)
                     for name in ('height', 'width'))
    if multiple > 1:
        height, width = multiple * height, multiple * width
    shapes = ({0: batch, 2: height, 3: width}, *(None for _ in inputs[1:]))
    with quiet(), torch.no_grad(), convert_errors(
            'torch.export cannot follow the network', 'such a model is not exported'):
        return torch.export.export(network, tuple(inputs), dynamic_shapes=shapes,
                                   prefer_deferred_runtime_asserts_over_guards=True)


def write_onnx(program: torch.export.ExportedProgram, path: Path, inputs: Sequence[str],
               outputs: Sequence[str], translations: dict | None = None) -> None:
    """Write a graph as ONNX.

    Args:
        program (ExportedProgram): see :func:`trace`.
        path (Path): the file; weights beyond 2 GB lie beside it, in ``<path>.data``.
        inputs, outputs (Sequence[str]): their names.
        translations (dict, optional): functions of onnxscript for operators of our own.

    Raises:
        InputError: ONNX does not have what the network needs.
    """
    for name in ('onnx', 'onnxscript'):
        import_runtime(name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    with quiet(), convert_errors('the network cannot be written as ONNX',
                                 'ONNX has no such operator, or not for this type'):
        made: Any = torch.onnx.export(
            program, dynamo=True, input_names=list(inputs), output_names=list(outputs),
            opset_version=OPSET, custom_translation_table=translations, verbose=False)
        made.save(str(path), external_data=size > MOST_BYTES)


def write_openvino(onnx_file: Path, path: Path) -> None:
    """Convert an ONNX file to OpenVINO's ``.xml`` and ``.bin``, in float32."""
    openvino = import_runtime('openvino')
    with quiet(), convert_errors(f'OpenVINO cannot read {onnx_file.name}',
                                 'export with --to onnx'):
        openvino.save_model(openvino.convert_model(str(onnx_file)), str(path),
                            compress_to_fp16=False)


def write_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a graph as a package of torch, which ``torch.export.load`` reads."""
    with quiet(), convert_errors('the network cannot be packaged by torch',
                                 'export with --to onnx'):
        torch.export.save(program, path)


def write_compiled(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compile a graph for this machine's CPU by AOTInductor, which takes a C++ compiler."""
    with quiet(), convert_errors('AOTInductor cannot compile the network', 'a C++ compiler must '
                                 'be there; or export with --to onnx'):
        compile_package(program, path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the lines that the exporters print for their own developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
