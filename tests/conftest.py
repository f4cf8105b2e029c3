"""Settings before any test module is imported, and a clean start for each module."""
import gc
import os

import pytest
import unformatted  # noqa: F401
from ran_tests import pytest_sessionfinish  # noqa: F401

# Triton reads it when it is imported, which mmdet does: the kernels' tests run on the CPU
os.environ.setdefault('TRITON_INTERPRET', '1')


@pytest.fixture(scope='module', autouse=True)
def no_default_scope():
    """A runner's default scope stays until the process ends: names without a scope would be looked
    up in the library that some earlier module used."""
    from mmengine.registry import DefaultScope
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module', autouse=True)
def short_collections():
    """mmengine collects garbage for each data set, which takes half a second where it walks through
    all that was imported: that is left out."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_units_for_bfloat16(monkeypatch):
    """Tests mean the same on every CPU: what is measured at a command's start is that of one
    without such units, where a test does not say otherwise."""
    monkeypatch.setattr('convnext_dense.bfloat16_gain.bfloat16_gain', lambda: 1.)
