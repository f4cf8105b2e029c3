"""Fused operators of ConvNeXt on a GPU as Triton kernels, and when they can run.

``operators`` and ``forms`` need Triton and are imported only where its kernels may run. The plain
torch form of each operator is what the backbone's layers compute without it.
"""
from importlib.util import find_spec

import torch
from torch import nn

from convnext_dense.errors import InputError

SETTINGS = ('torch', 'auto', 'triton')
OLDEST_TRITON = (3, 4)
OLDEST_CAPABILITY = (8, 0)


def give_kernels(model: nn.Module, setting: str, device: torch.device) -> tuple[int, str]:
    """Give a model's blocks and norms the forms that call the kernels, as a setting says.

    Args:
        model (nn.Module): changed in place.
        setting (str): ``torch`` gives none; ``auto`` does for a GPU that can run them; ``triton``
            also under Triton's interpreter on a CPU.
        device (torch.device): of the maps.

    Returns:
        tuple[int, str]: how many modules have a form now, and one phrase on why.

    Raises:
        InputError: no such setting, or ``triton`` where its kernels cannot run.
    """
    runs, form = chosen_kernels(setting, device)
    if not runs:
        return 0, form
    from convnext_dense.acceleration.forms import give_form
    from convnext_dense.acceleration.triton.forms import TritonBlock, TritonLayerNorm2d
    return give_form(model, TritonBlock) + give_form(model, TritonLayerNorm2d), form


def chosen_kernels(setting: str, device: torch.device) -> tuple[bool, str]:
    """Whether the kernels run on a device under a setting, and one phrase on which or why not.

    Raises:
        InputError: as for :func:`give_kernels`.
    """
    if setting not in SETTINGS:
        raise InputError(f'acceleration.ops={setting!r}; give one of {", ".join(SETTINGS)}')
    if setting == 'torch':
        return False, 'torch (as set)'
    obstacle = 'the model is on the CPU' if setting == 'auto' and device.type != 'cuda' else \
        _obstacle(device)
    if obstacle and setting == 'triton':
        raise InputError(f"acceleration.ops='triton', but {obstacle}; use ops='auto'")
    if obstacle:
        return False, f'torch ({obstacle})'
    import triton
    return True, f'triton {triton.__version__}'


def _obstacle(device: torch.device) -> str | None:
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
    major, minor = torch.cuda.get_device_capability(device if device.type == 'cuda' else None)
    if (major, minor) < OLDEST_CAPABILITY:
        return f'the GPU has compute capability {major}.{minor}, and 8.0 is needed'
    return None
