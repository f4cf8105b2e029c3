"""Post-training quantisation to 8 bits, with NNCF, calibrated on the user's images."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.errors import InputError, convert_errors
from convnext_dense.export.tracing import quiet
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.runtimes import import_runtime


def quantise(file: Path, inputs: Sequence[dict[str, np.ndarray]]) -> None:
    """Replace a network in float32 by one whose convolutions and products are in int8.

    Args:
        file (Path): ``.onnx``, or OpenVINO's ``.xml`` with its ``.bin``.
        inputs (Sequence[dict]): what the network got of the calibration images.

    Raises:
        InputError: NNCF is not installed, or fails on this network.
    """
    nncf = import_runtime('nncf')
    # activations after GELU are not symmetric; weights are
    settings: Any = dict(subset_size=len(inputs), preset=nncf.QuantizationPreset.MIXED)
    with quiet(), convert_errors(f'{file.name} cannot be quantised by NNCF',
                                 'export it without --int8'):
        data = nncf.Dataset(list(inputs))
        if file.suffix == '.onnx':
            onnx = import_runtime('onnx')
            model = nncf.quantize(onnx.load(str(file)), data, **settings)
            onnx.save(model, str(file))
            return
        openvino = import_runtime('openvino')
        model = nncf.quantize(openvino.Core().read_model(str(file)), data, **settings)
        part = file.with_name(f'int8-{file.name}')  # the weights that it reads are still open
        openvino.save_model(model, str(part), compress_to_fp16=False)
        del model
        for suffix in ('.xml', '.bin'):
            part.with_suffix(suffix).replace(file.with_suffix(suffix))


def network_inputs(exported: Predictor, images: Sequence[np.ndarray]
                   ) -> list[dict[str, np.ndarray]]:
    """What the network of an export gets of images: each array by the name of its input.

    Raises:
        InputError: no images.
    """
    if not images:
        raise InputError('int8 needs images to calibrate with')
    model: Any = exported.model
    run, seen = model.run, []

    def watch(inputs):
        seen.append(dict(inputs))
        return run(inputs)

    model.run = watch
    try:
        for image in images:
            exported(image)
    finally:
        model.run = run
    return seen
