"""Description of the machine that a measurement was made on."""
import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from convnext_dense.cores import core_count

PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation')


def describe_machine(device: str = 'cpu') -> dict[str, Any]:
    """Processor, memory, GPU, threads and versions, as plain values for JSON.

    Args:
        device (str): ``cpu`` or ``cuda``.
    """
    import torch

    from convnext_dense import __version__
    machine = dict(
        time=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        system=platform.platform(),
        cpu=_cpu_name(),
        cores=core_count(),
        threads=torch.get_num_threads(),
        memory_GiB=_memory_gib(),
        load_average=[round(load, 2) for load in os.getloadavg()],
        python=platform.python_version(),
        convnext_dense=__version__,
        packages={name: installed_version(name) for name in PACKAGES},
        device=device)
    if device == 'cuda':
        properties = torch.cuda.get_device_properties(0)
        machine['gpu'] = dict(name=properties.name, memory_GiB=round(
            properties.total_memory / 2**30, 1), cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version())
    return machine


def _cpu_name():
    try:
        with open('/proc/cpuinfo') as lines:
            return next(line.split(':', 1)[1].strip() for line in lines
                        if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_gib():
    try:
        return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def installed_version(name: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
