"""The fixtures of this folder: a tiny detector and a tiny segmenter, and exports of them."""
import pytest
from prediction.trained import detector, images, segmenter, shapes  # noqa: F401

from convnext_dense.export import ExportOptions, export_model


@pytest.fixture(scope='session')
def exported_segmenter(segmenter, tmp_path_factory):  # noqa: F811
    """Folder of the tiny segmenter as ONNX, with the images of its own test data."""
    out = tmp_path_factory.mktemp('exports') / 'segmenter'
    export_model(segmenter, out, options=ExportOptions('onnx'))
    return out
