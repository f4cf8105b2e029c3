"""The implementations by others that tests compare with; a test is skipped where one is missing."""
from functools import wraps

import pytest

from benchmarks import packages


def _or_skip(importer):
    @wraps(importer)
    def imported():
        try:
            return importer()
        except packages.MissingPackage as missing:
            pytest.skip(str(missing))
    return imported


import_torchvision = _or_skip(packages.import_torchvision)
import_timm = _or_skip(packages.import_timm)
import_transformers = _or_skip(packages.import_transformers)
import_open_clip = _or_skip(packages.import_open_clip)
import_mmpretrain = _or_skip(packages.import_mmpretrain)
