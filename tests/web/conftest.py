"""The fixtures of this folder."""
import pytest
from prediction.trained import detector, images, segmenter, shapes  # noqa: F401
from web.standing import standing

from convnext_dense.web.app import Limits
from convnext_dense.web.serving import ServedModel


@pytest.fixture(scope='session')
def trained(detector, segmenter):  # noqa: F811
    """A trained detector and segmenter as they are served, no score too low."""
    from convnext_dense import Predictor
    return [ServedModel(name, Predictor(folder, device='cpu', threshold=0))
            for name, folder in (('detector', detector), ('segmenter', segmenter))]


@pytest.fixture(scope='module')
def server(trained):
    """A server of both."""
    with standing(trained, Limits(lowest=0)) as server:
        yield server
