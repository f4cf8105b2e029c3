"""Tiles that Triton's interpreter, which takes a while for each row, gets through soon."""
import pytest

from convnext_dense.acceleration.triton import plans


@pytest.fixture(autouse=True)
def low_tiles(monkeypatch):
    monkeypatch.setattr(plans, 'ROWS', 2)
