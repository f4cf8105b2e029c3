"""Whether this machine and environment can train: versions, compiled operators, memory, folders."""
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from convnext_dense.analysis.machine import PACKAGES, describe_machine
from convnext_dense.analysis.memory import available_bytes
from convnext_dense.errors import InputError, in_one_line

#: distributions of the original packages, which own the same modules as the maintained ones
ORIGINALS = ('mmengine', 'mmengine-lite', 'mmcv', 'mmcv-lite', 'mmcv-full', 'mmdet',
             'mmsegmentation')
LEAST_MEMORY_GIB = 4
LEAST_SHARED_MIB = 512  # what a few data workers need for their batches
LEAST_DISK_GIB = 5


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        subject (str): what was looked at.
        state (str): ``good``, ``warning`` or ``bad``: the last stops training.
        found (str): what was found.
        advice (str): what to do, usually a command; empty where nothing is to do.
    """
    subject: str
    state: str
    found: str
    advice: str = ''


def examine(config: str | None = None) -> Iterator[Finding]:
    """Look at everything, the quick things first.

    Args:
        config: a config whose data folders are looked at, too.
    """
    yield from versions()
    yield operators()
    yield gpu()
    yield from memory()
    yield from folders()
    if config:
        yield from data_folders(config)
    yield self_test()


def versions() -> Iterator[Finding]:
    """Maintained packages that are missing, and originals beside them."""
    machine = describe_machine()
    missing = [name for name in PACKAGES if not machine['packages'][name]]
    listed = ', '.join(f'{name} {version}' for name, version in machine['packages'].items()
                       if version)
    yield Finding('packages', 'bad' if missing else 'good',
                  f'Python {machine["python"]}, convnext_dense {machine["convnext_dense"]}, '
                  + listed + (f'; missing: {", ".join(missing)}' if missing else ''),
                  f'pip install {" ".join(missing)}' if missing else '')
    installed = {(dist.metadata['Name'] or '').lower()
                 for dist in importlib.metadata.distributions()}
    beside = [name for name in ORIGINALS if name in installed]
    yield Finding('original packages', 'bad' if beside else 'good',
                  f'{", ".join(beside)} own the same modules as the maintained packages' if beside
                  else 'none beside the maintained ones',
                  f'pip uninstall {" ".join(beside)}, then install the onedl- packages again'
                  if beside else '')
    yield Finding('processor', 'good',
                  f'{machine["cpu"]}, {machine["cores"]} cores for this process')


def operators() -> Finding:
    """mmcv's compiled operators, by running one."""
    try:
        import torch
        from mmcv.ops import nms
        nms(torch.tensor([[0., 0., 1., 1.]]), torch.ones(1), .5)
    except Exception as error:
        return Finding('compiled operators', 'bad', f'mmcv: {in_one_line(error)}',
                       'install mmcv where torch and a C++ compiler are: make setup in a clone, or '
                       'pip install --no-build-isolation onedl-mmcv')
    return Finding('compiled operators', 'good', "mmcv's run")


def gpu() -> Finding:
    """The GPU, its driver, and a torch that cannot use it."""
    import torch
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        free, total = torch.cuda.mem_get_info()
        return Finding('GPU', 'good', f'{torch.cuda.device_count()} x {properties.name}, '
                       f'{free / 2**30:.1f} of {total / 2**30:.1f} GiB free, '
                       f'CUDA {torch.version.cuda}')
    if Path('/proc/driver/nvidia/version').exists() or shutil.which('nvidia-smi'):
        return Finding('GPU', 'warning', f'there is an NVIDIA driver, but torch '
                       f'{torch.__version__} finds no GPU', 'install the CUDA build of torch that '
                       'fits the driver, see docs/installation.md')
    return Finding('GPU', 'good', 'none: training runs on the processor')


def memory() -> Iterator[Finding]:
    """Main memory, and the shared memory through which data workers hand over batches."""
    free_bytes = available_bytes()
    if free_bytes is not None:
        free = free_bytes / 2**30
        yield Finding('memory', 'good' if free >= LEAST_MEMORY_GIB else 'warning',
                      f'{free:.1f} GiB free', '' if free >= LEAST_MEMORY_GIB else
                      'close other programs, or train a smaller model with a smaller batch')
    if Path('/dev/shm').is_dir():
        shared = shutil.disk_usage('/dev/shm').free / 2**20
        yield Finding('shared memory', 'good' if shared >= LEAST_SHARED_MIB else 'warning',
                      f'{shared:.0f} MiB free', '' if shared >= LEAST_SHARED_MIB else
                      'start a container with --shm-size=2g, or set num_workers=0 in the loaders')


def folders() -> Iterator[Finding]:
    """Where results, fetched weights and temporary files go."""
    from convnext_dense.checkpoints.fetching import cache_folder
    for subject, folder in (('work directories', Path.cwd()), ('fetched weights', cache_folder()),
                            ('temporary files', Path(tempfile.gettempdir()))):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 2**30
        if not os.access(there, os.W_OK):
            yield Finding(subject, 'bad', f'{folder} cannot be written',
                          f'chmod u+w {there}, or work in another folder')
        elif free < LEAST_DISK_GIB:
            yield Finding(subject, 'warning', f'{folder}: {free:.1f} GiB free',
                          'checkpoints need several GiB: make room')
        else:
            yield Finding(subject, 'good', f'{folder}: {free:.0f} GiB free')


def data_folders(config: str) -> Iterator[Finding]:
    """The data roots of a config."""
    from convnext_dense.classes import LOADERS, data_sets
    from convnext_dense.config import load_config
    try:
        cfg = load_config(config)
    except InputError as error:
        yield Finding('config', 'bad', str(error), 'correct the config')
        return
    roots = {str(dataset['data_root']) for loader in LOADERS
             for dataset in data_sets((cfg.get(loader) or {}).get('dataset'))
             if dataset.get('data_root')}
    for root in sorted(roots):
        there = Path(root).is_dir()
        yield Finding('data', 'good' if there else 'bad',
                      f'{root} is {"there" if there else "not there"}', '' if there else
                      'give --data-root, or fetch the data: convnext-dense list datasets')


def self_test() -> Finding:
    """A forward and backward pass of the smallest backbone on the device that training takes."""
    start = time.monotonic()
    try:
        import torch

        from convnext_dense.models import ConvNeXt
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        with torch.random.fork_rng():
            model = ConvNeXt('atto').to(device)
            maps = model(torch.randn(2, 3, 64, 64, device=device))
            sum(output.square().mean() for output in maps).backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        if not all(grad is not None and grad.isfinite().all() for grad in gradients):
            return Finding('self-test', 'bad', 'gradients are missing or not finite',
                           'report it with the output of convnext-dense doctor --json')
    except Exception as error:
        return Finding('self-test', 'bad', in_one_line(error),
                       'report it with the output of convnext-dense doctor --json')
    return Finding('self-test', 'good', 'a forward and backward pass on '
                   f'{device} took {time.monotonic() - start:.1f} s')
