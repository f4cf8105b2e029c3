"""Rows: ours beside ONNX Runtime and OpenVINO, in float32 and in bf16.

Both get the graph that ``convnext-dense export`` writes. ONNX Runtime computes no bf16 on CPUs.
"""
import atexit
import tempfile
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from benchmarks import rows_backbone, rows_inference
from benchmarks.packages import MissingPackage
from benchmarks.rows import Side, row
from benchmarks.rows_backbone import V1, V2

#: differences of outputs in bf16, which has 8 bits, relative to the largest value
BF16_TOLERANCE = .1


class Logits(nn.Module):
    """Backbone and decode head of UperNet."""

    def __init__(self):
        super().__init__()
        self.model = rows_inference.build(rows_inference.config(rows_inference.UPERNET))
        self.model.load_state_dict(rows_inference.state(rows_inference.UPERNET))

    def forward(self, x):
        return self.model.decode_head.forward(self.model.extract_feat(x))


NETWORKS = dict(
    v1=(partial(rows_backbone.ours, V1), rows_backbone.SHAPE),
    v2=(partial(rows_backbone.ours, V2), rows_backbone.SHAPE),
    upernet=(Logits, (1, 3, 512, 512)))


def images(name):
    return torch.randn(NETWORKS[name][1], generator=torch.Generator().manual_seed(0))


def torch_side(name, bf16=False):
    """Ours, prepared, perhaps for bf16."""
    from convnext_dense.acceleration import prepare
    network = NETWORKS[name][0]().eval()
    prepare(network, 'infer', settings=dict(bfloat16=bf16))
    x = images(name).to(memory_format=torch.channels_last)

    def step():
        with torch.inference_mode():
            return _named(network(x))
    return Side(step)


def runtime_side(name, runtime, precision='float32'):
    from convnext_dense.errors import InputError
    from convnext_dense.prediction.runtimes import import_runtime, open_session
    try:
        for package in ('onnx', 'onnxscript', runtime):
            import_runtime(package)
    except InputError as error:
        raise MissingPackage(str(error)) from error
    file, outputs = onnx_file(name)
    run = open_session(file, runtime, torch.get_num_threads(), precision, outputs=outputs)
    inputs = dict(images=images(name).numpy())

    def outputs_as_tensors():
        return {key: torch.from_numpy(value) for key, value in run(inputs).items()}
    return Side(lambda: run(inputs), outputs_as_tensors)


@cache
def onnx_file(name):
    """The network as ONNX, and the names of its outputs."""
    from convnext_dense.export.layers import use_exportable_layers
    from convnext_dense.export.tracing import trace, write_onnx
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    network = NETWORKS[name][0]().eval().requires_grad_(False)
    use_exportable_layers(network)
    outputs = tuple(f'map {stage}' for stage in range(1 if name == 'upernet' else 4))
    file = Path(folder.name) / f'{name}.onnx'
    write_onnx(trace(network, [torch.randn(2, 3, 160, 192)]), file, ['images'], outputs)
    return file, outputs


def _named(outputs):
    outputs = [outputs] if torch.is_tensor(outputs) else outputs
    return {f'map {stage}': output.float() for stage, output in enumerate(outputs)}


def _float32(name):
    return {'ours': partial(torch_side, name),
            'onnxruntime': partial(runtime_side, name, 'onnxruntime'),
            'openvino': partial(runtime_side, name, 'openvino')}


def _bf16(name):
    return {'ours': partial(torch_side, name, True),
            'ours, float32': partial(torch_side, name),
            'openvino': partial(runtime_side, name, 'openvino', 'bf16')}


for _name, _title in (('v1', 'ConvNeXt-T alone, 2 x 256x256'),
                      ('v2', 'ConvNeXt V2-T alone, 2 x 256x256'),
                      ('upernet', 'UperNet ConvNeXt-T to its logits, 512x512')):
    row(f'runtimes-{_name}', f'{_title}, float32', peer='ours', fastest_bar=1.)(
        partial(_float32, _name))
    row(f'runtimes-{_name}-bf16', f'{_title}, bf16', peer='ours', fastest_bar=1.,
        tolerance=BF16_TOLERANCE)(partial(_bf16, _name))
