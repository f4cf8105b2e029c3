"""What GPUs can do, from their makers' data sheets, and how users write links between them."""
import re
from typing import NamedTuple

from convnext_dense.errors import InputError


class Gpu(NamedTuple):
    """A GPU.

    Attributes:
        memory: bytes.
        half: floating-point operations a second in bfloat16 (float16 where it has no bfloat16),
            dense, on tensor cores.
        single: of float32, which torch's matrix products are in unless TF32 is allowed.
        inside: bytes a second that it sends to others of its machine, one way.
    """
    memory: float
    half: float
    single: float
    inside: float


#: NVIDIA's data sheets, dense figures; NVLink's or PCIe's total is halved for one way
GPUS = {
    'v100': Gpu(32e9, 125e12, 15.7e12, 150e9),
    'a100-40': Gpu(40e9, 312e12, 19.5e12, 300e9),
    'a100': Gpu(80e9, 312e12, 19.5e12, 300e9),
    'h100': Gpu(80e9, 989e12, 67e12, 450e9),
    'h200': Gpu(141e9, 989e12, 67e12, 450e9),
    'b200': Gpu(180e9, 2250e12, 75e12, 900e9),
    'l40s': Gpu(48e9, 362e12, 91.6e12, 32e9),
    'rtx4090': Gpu(24e9, 165e12, 82.6e12, 32e9),
}
_UNITS = {'': 1., 'k': 1e3, 'm': 1e6, 'g': 1e9, 't': 1e12}


def gpu_named(name: str) -> Gpu:
    """A GPU of the table.

    Raises:
        InputError: it is not in it.
    """
    if name.lower() not in GPUS:
        raise InputError(f'--gpu {name}: known are {", ".join(GPUS)}')
    return GPUS[name.lower()]


def bytes_a_second(text: str) -> float:
    """``400Gb`` (bits) and ``50GB`` (bytes) a second, as bytes a second.

    Raises:
        InputError: neither.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(b|bit|B)(?:/s|ps)?', text.strip())
    if not found or not float(found[1]):
        raise InputError(f'--link {text}: write bits such as 400Gb, or bytes such as 50GB, a '
                         'second')
    return float(found[1]) * _UNITS[found[2].lower()] / (1 if found[3] == 'B' else 8)
