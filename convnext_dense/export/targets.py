"""What ``--to`` means, and how a model is exported."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convnext_dense.errors import InputError


class Target(NamedTuple):
    """What ``--to`` means.

    Attributes:
        file (str): name of the network's file.
        runtime (str): that the export is tried in.
        runtimes (tuple[str]): that read it.
    """
    file: str
    runtime: str
    runtimes: tuple[str, ...]


TARGETS = {
    'onnx': Target('model.onnx', 'onnxruntime', ('onnxruntime', 'openvino')),
    'openvino': Target('model.xml', 'openvino', ('openvino', )),
    'torch': Target('model.pt2', 'torch', ('torch', )),
    'aotinductor': Target('model.pt2', 'aotinductor', ('aotinductor', )),
    'tensorrt-onnx': Target('model.onnx', 'onnxruntime', ('onnxruntime', 'openvino')),
}

#: targets that are packages of torch, which keep to the sizes that the graph is made for
PACKAGED = ('torch', 'aotinductor')


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Args:
        target (str): a name of ``TARGETS``.
        output (str | None): of a segmenter: ``labels`` or ``logits``; None takes ``labels``, or
            for a model that looks in windows ``logits``.
        normalise (bool): the network takes uint8 pixels and normalises them.
        images (Sequence[str]): files and folders to try it on; by default the test data.
        count (int): most images to try.
        data_root (str | None): folder of the config's data sets.
        int8 (bool): quantise the network after training, and say what that costs.
        calibration (Sequence[str]): files and folders to calibrate with; by default the training
            data.
        calibration_count (int): most images to calibrate with.
        evaluate (int | None): images of the test data to evaluate model and export on; 0 leaves
            it out; None is 200 with ``int8`` and 0 without.
    """
    target: str = 'onnx'
    output: str | None = None
    normalise: bool = False
    images: Sequence[str] = ()
    count: int = 2
    data_root: str | None = None
    int8: bool = False
    calibration: Sequence[str] = ()
    calibration_count: int = 100
    evaluate: int | None = None

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f'target {self.target!r}: give one of {", ".join(TARGETS)}')
        for number in (self.count, self.calibration_count):
            if number < 1:
                raise InputError(f'{number} images: give a number from 1 on')
        if self.int8 and self.target not in ('onnx', 'openvino'):
            raise InputError(f'--int8 with --to {self.target}: NNCF quantises for onnx and '
                             'openvino')
