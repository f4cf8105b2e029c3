"""Exported networks in the runtimes that compute them: arrays in, arrays out."""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.errors import InputError, convert_errors

#: what each runtime reads
RUNTIMES = dict(onnxruntime=('.onnx', ), openvino=('.onnx', '.xml'), torch=('.pt2', ),
                aotinductor=('.pt2', ))
PRECISIONS = ('float32', 'bf16')
Session = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def open_session(file: Path, runtime: str, threads: int, precision: str = 'float32',
                 *, outputs: tuple[str, ...]) -> Session:
    """A network on this machine's CPU.

    Args:
        file (Path): as :func:`convnext_dense.export.export_model` writes it.
        runtime (str): a name of ``RUNTIMES``.
        threads (int): that it may use.
        precision (str): ``float32``, or ``bf16`` where the runtime and the CPU have it.
        outputs (tuple[str]): names of the outputs, in order.

    Returns:
        Callable: takes the inputs by name and gives the outputs by name.

    Raises:
        InputError: no such runtime or precision, another runtime's file, or one that is damaged.
    """
    if runtime not in RUNTIMES:
        raise InputError(f'runtime {runtime!r}: give one of {", ".join(RUNTIMES)}')
    if file.suffix not in RUNTIMES[runtime]:
        others = [name for name, suffixes in RUNTIMES.items() if file.suffix in suffixes]
        raise InputError(f'{file} is not for {runtime}; give --runtime {" or ".join(others)}, or '
                         'export the model for it')
    if precision not in PRECISIONS or precision == 'bf16' and runtime != 'openvino':
        raise InputError(f'precision {precision!r} with {runtime}: float32 runs everywhere, bf16 '
                         'with openvino, since onnxruntime has no operators in bf16 on CPUs and a '
                         'package of torch computes in the type that it was made with')
    if not file.is_file():
        raise InputError(f'{file} is not there; export the model again')
    open_file = dict(onnxruntime=_onnxruntime, openvino=_openvino, torch=_torch,
                     aotinductor=_aotinductor)[runtime]
    with convert_errors(f'{file} in {runtime}', 'export the model again'):
        return open_file(file, threads, precision, outputs)


def import_runtime(name: str) -> Any:
    """A package of the extra ``export``.

    Raises:
        InputError: it is not installed.
    """
    from importlib import import_module
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f'{name} is needed, which is not there: '
                         "pip install 'convnext_dense[export]'") from error


def _onnxruntime(file, threads, precision, outputs):
    runtime = import_runtime('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])

    def run(inputs):
        return dict(zip(outputs, session.run(list(outputs), dict(inputs))))
    return run


def _openvino(file, threads, precision, outputs):
    openvino = import_runtime('openvino')
    # its default would be bf16 or float16 where the CPU is fast in them
    hint = dict(float32='f32', bf16='bf16')[precision]
    compiled = openvino.Core().compile_model(str(file), 'CPU', {
        'INFERENCE_PRECISION_HINT': hint, 'INFERENCE_NUM_THREADS': threads,
        'PERFORMANCE_HINT': 'LATENCY'})

    def run(inputs):
        results = compiled(dict(inputs))
        return {name: np.array(results[name]) for name in outputs}
    return run


def _torch(file, threads, precision, outputs):
    import torch
    return _run_torch(torch.export.load(file).module(), outputs)


def _aotinductor(file, threads, precision, outputs):
    from convnext_dense.private.torch import load_package
    return _run_torch(load_package(file), outputs)


def _run_torch(network, outputs):
    import torch

    def run(inputs):
        with torch.inference_mode():
            results = network(*(torch.from_numpy(value) for value in inputs.values()))
        results = [results] if torch.is_tensor(results) else results
        return dict(zip(outputs, (result.numpy() for result in results)))
    return run
