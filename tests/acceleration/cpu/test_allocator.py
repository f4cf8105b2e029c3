"""Memory that is freed stays with the process, unless the user says otherwise."""
import os
import platform
import subprocess
import sys

import pytest

#: prints whether malloc was told, and the page faults of the fifth of five passes, each of which
#: fills and frees 64 tensors of 4 MB
PROGRAM = """
import resource, torch
from convnext_dense.acceleration.cpu.allocator import keep_freed_memory
told = keep_freed_memory()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(2**20) for _ in range(64)]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del maps
print(told, faults)
"""


def told_and_faults(**environment):
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(('MALLOC_', 'GLIBC_TUNABLES'))}
    printed = subprocess.run([sys.executable, '-c', PROGRAM], env={**kept, **environment},
                             check=True, capture_output=True, text=True).stdout
    told, faults = printed.split()
    return told == 'True', int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='this C library has no mallopt')
def test_freed_memory_is_used_again():
    told, faults = told_and_faults()
    assert told
    assert faults < 1000
    told, faults = told_and_faults(MALLOC_TRIM_THRESHOLD_='131072')
    assert not told
    assert faults > 60000  # a page is 4 KB
