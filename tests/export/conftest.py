"""The fixtures of this folder: a tiny detector and a tiny segmenter, and exports of them."""
import pytest
import torch
from prediction.trained import detector, images, segmenter, shapes  # noqa: F401

from convnext_dense.export import ExportOptions, export_model


@pytest.fixture(scope='session')
def clear_segmenter(segmenter, tmp_path_factory):  # noqa: F811
    """A checkpoint of the tiny segmenter whose label maps have several classes."""
    checkpoint = torch.load(segmenter / 'iter_2.pth', weights_only=False)
    torch.manual_seed(0)
    for name, tensor in checkpoint['state_dict'].items():
        if name == 'decode_head.conv_seg.weight':
            tensor.normal_(0, 1)
        elif name == 'decode_head.conv_seg.bias':
            tensor.zero_()
        elif name.startswith('decode_head') and name.endswith('running_var'):
            tensor.fill_(.01)
    path = tmp_path_factory.mktemp('clear') / 'clear.pth'
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope='session')
def exported_segmenter(clear_segmenter, tmp_path_factory):
    """Folder of the tiny segmenter as ONNX, tried on the images of its own test data."""
    out = tmp_path_factory.mktemp('exports') / 'segmenter'
    export_model(clear_segmenter, out, options=ExportOptions('onnx'))
    return out


@pytest.fixture(scope='session')
def exported_detector(detector, tmp_path_factory):  # noqa: F811
    """Folder of the tiny Cascade Mask R-CNN as ONNX."""
    out = tmp_path_factory.mktemp('exports') / 'detector'
    export_model(detector, out, options=ExportOptions('onnx'))
    return out
