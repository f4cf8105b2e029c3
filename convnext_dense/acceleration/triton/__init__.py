"""Fused operators of ConvNeXt on a GPU, and the choice between them and plain torch.

``operators`` needs Triton and is imported only where its kernels may run. The plain torch form of
each operator is what the backbone's layers compute without it.
"""
from importlib import import_module
from importlib.util import find_spec

import torch

from convnext_dense.errors import InputError

SETTINGS = ('auto', 'torch', 'triton')
OLDEST_TRITON = (3, 4)
OLDEST_CAPABILITY = (8, 0)
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

#: the module of operators, once :func:`prepare` found that they may run
module = None


def prepare(setting):
    """Check the setting ``ops`` of a backbone, and import the operators where they may run.

    Args:
        setting (str): ``auto``: the kernels for maps on a GPU that they fit, else plain torch;
            ``torch``; ``triton``: the kernels, also under Triton's interpreter on a CPU.

    Raises:
        InputError: no such setting, or ``triton`` where its kernels cannot run.
    """
    global module
    if setting not in SETTINGS:
        raise InputError(f'ConvNeXt: ops={setting!r}; give one of {", ".join(SETTINGS)}')
    if setting == 'torch' or (setting == 'auto' and not torch.cuda.is_available()):
        return
    obstacle = _obstacle()
    if obstacle and setting == 'triton':
        raise InputError(f'ConvNeXt: ops=\'triton\', but {obstacle}; use ops=\'auto\'')
    if not obstacle and module is None:
        module = import_module('convnext_dense.acceleration.triton.operators')


def wanted(setting, x):
    """Whether the operators are to be used for a map."""
    return setting != 'torch' and module is not None and x.dtype in TYPES and \
        x.numel() > 0 and (
            x.is_cuda or (setting == 'triton' and x.device.type in ('cpu', 'meta')))


def describe(setting, device):
    """Which form runs on a device, for the log."""
    if setting == 'torch':
        return 'torch (as set)'
    obstacle = 'the model is on the CPU' if setting == 'auto' and device.type != 'cuda' else \
        _obstacle()
    if obstacle:
        return f'torch ({obstacle})'
    import triton
    return f'triton {triton.__version__}'


def _obstacle():
    """Why the kernels cannot run in this process, or None."""
    if find_spec('triton') is None:
        return 'Triton is not installed'
    import triton
    if tuple(map(int, triton.__version__.split('.')[:2])) < OLDEST_TRITON:
        return f'Triton {triton.__version__} is too old, it must be 3.4 or newer'
    if triton.knobs.runtime.interpret:
        return None
    if torch.version.cuda is None or not torch.cuda.is_available():
        return 'there is no CUDA GPU'
    major, minor = torch.cuda.get_device_capability()
    if (major, minor) < OLDEST_CAPABILITY:
        return f'the GPU has compute capability {major}.{minor}, and 8.0 is needed'
    return None
