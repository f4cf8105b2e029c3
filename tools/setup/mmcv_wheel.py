"""Provide a wheel of onedl-mmcv with its compiled operators.

onedl-mmcv is published as source. A plain build parses torch's headers once for each of its 78
source files and takes 20 minutes on 2 cores. Here the sources are joined into a few translation
units, which takes under 2 minutes; should another version of mmcv refuse to compile that way, the
plain build follows. The wheel is kept and reused while Python, torch, mmcv and the kind of GPU
stay the same.

Run inside the environment that the wheel is for, with torch installed::

    python tools/setup/mmcv_wheel.py --version 2.3.6 --cache ~/.cache/convnext_dense

It prints the path of the wheel on its last line.
"""
import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DISTRIBUTION = 'onedl-mmcv'
GROUPS = 6
# These define names that clash with other sources, or are the module itself.
ALONE = {'pybind.cpp', 'cpu/roi_align_rotated.cpp', 'cpu/rotated_feature_align.cpp'}
HEADERS = ('pytorch_cpp_helper.hpp', 'pytorch_device_registry.hpp')


def log(message):
    print(f'[mmcv] {message}', flush=True)


def cache_key(version):
    """Name of the cache folder: changes with whatever makes a compiled wheel unusable."""
    import torch
    parts = (f'mmcv{version}', f'cp{sys.version_info[0]}{sys.version_info[1]}',
             f'torch{torch.__version__}', platform.system().lower(), platform.machine(),
             *operators_of_gpus())
    return '-'.join(parts)


def operators_of_gpus():
    """CUDA and the GPUs that a build here has operators for; nothing where it has none."""
    import torch
    if not torch.cuda.is_available() and os.environ.get('FORCE_CUDA') != '1':
        return []
    wanted = os.environ.get('TORCH_CUDA_ARCH_LIST') or ' '.join(sorted(
        {'{}.{}'.format(*torch.cuda.get_device_capability(number))
         for number in range(torch.cuda.device_count())}))
    return [f'cuda{torch.version.cuda}', *re.findall(r'[\w.+]+', wanted)]


def group_sources(csrc, count=GROUPS):
    """Join the host sources below ``csrc`` (mmcv/ops/csrc/pytorch) into ``count`` files.

    A grouped source is renamed to ``*.cpp.inc``, so that mmcv's setup.py no longer lists it, and
    is included by one ``group_N.cpp``. The largest sources are dealt out first, to equal the load.
    """
    sources = [path for path in [*csrc.glob('*.cpp'), *csrc.glob('cpu/*.cpp')]
               if path.relative_to(csrc).as_posix() not in ALONE]
    sources.sort(key=lambda path: (-path.stat().st_size, path.as_posix()))
    groups = [[] for _ in range(count)]
    for index, source in enumerate(sources):
        included = source.with_name(source.name + '.inc')
        source.rename(included)
        groups[index % count].append(included.relative_to(csrc).as_posix())
    for index, group in enumerate(groups):
        lines = [f'#include "{header}"' for header in HEADERS]
        for included in sorted(group):
            # Some sources define min and max as macros, which break the headers of the next.
            lines += [f'#include "{included}"', '#undef min', '#undef max']
        (csrc / f'group_{index}.cpp').write_text('\n'.join(lines) + '\n')
    return groups


def pip(*arguments, **options):
    subprocess.run([sys.executable, '-m', 'pip', *arguments], check=True, **options)


def build(source, out):
    """Build the wheel of the unpacked ``source`` into the folder ``out``."""
    # g0: debug information is half of the compile time and nine tenths of the wheel.
    env = dict(os.environ, CFLAGS='-g0', CXXFLAGS='-g0', MAX_JOBS=str(os.cpu_count() or 1))
    pip('wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', str(out),
        str(source), env=env)


def has_operators(wheel):
    from zipfile import ZipFile
    return any(name.startswith('mmcv/_ext') for name in ZipFile(wheel).namelist())


def find_ready_wheel(version, links, out):
    """Download a published wheel from ``links`` (a folder or a page of links), if one fits."""
    if not links:
        return None
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--no-index',
               '--only-binary', ':all:', '--find-links', links, '--dest', str(out),
               f'{DISTRIBUTION}=={version}']
    if subprocess.run(command, check=False).returncode:
        log(f'no wheel for this Python and platform under {links}: building from source')
        return None
    return next(out.glob('*.whl'))


def fetch_source(version, work):
    """Download and unpack the source distribution; returns its folder."""
    pip('download', '--quiet', '--no-deps', '--no-build-isolation', '--no-binary', DISTRIBUTION,
        '--dest', str(work), f'{DISTRIBUTION}=={version}')
    return unpack(next(work.glob('*.tar.gz')), work / 'source')


def unpack(archive, folder):
    """Unpack a source distribution; returns the one folder that it holds."""
    with tarfile.open(archive) as tar:
        # the 'data' filter refuses links and paths that lead out of the folder
        tar.extractall(folder, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))
    return next(Path(folder).iterdir())


def build_from_source(version, work):
    source = fetch_source(version, work)
    plain = work / 'plain'
    shutil.copytree(source, plain)
    log(f'building {DISTRIBUTION} {version} from source (about 2 minutes on 2 cores)')
    out = work / 'wheel'
    try:
        group_sources(source / 'mmcv' / 'ops' / 'csrc' / 'pytorch')
        build(source, out)
    except (subprocess.CalledProcessError, OSError):
        log('the grouped build failed; building file by file (about 20 minutes on 2 cores)')
        shutil.rmtree(out, ignore_errors=True)
        build(plain, out)
    return next(out.glob('*.whl'))


def provide(version, cache, links=None):
    """Path of a wheel of mmcv ``version`` with compiled operators for this interpreter."""
    folder = Path(cache).expanduser() / 'wheels' / cache_key(version)
    if links:
        folder = folder.with_name(
            f'{folder.name}-{hashlib.sha256(links.encode()).hexdigest()[:8]}')
    kept = sorted(folder.glob('*.whl'))
    if kept:
        log(f'reusing {kept[0]}')
        return kept[0]
    with tempfile.TemporaryDirectory(prefix='mmcv-') as temporary:
        work = Path(temporary)
        ready = work / 'ready'
        ready.mkdir()
        wheel = find_ready_wheel(version, links, ready) or build_from_source(version, work)
        if not has_operators(wheel):
            raise SystemExit(
                f'[mmcv] {wheel.name} holds no compiled operators. A C++ compiler and torch must '
                'be present when it is built: install g++ (Debian: apt-get install g++) and run '
                'the set-up again.')
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f'{wheel.name}.part'
        shutil.copy(wheel, partial)
        return partial.rename(folder / wheel.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--version', required=True, help='version of onedl-mmcv')
    parser.add_argument('--cache', required=True, help='folder where built wheels are kept')
    parser.add_argument('--find-links', help='folder or page that lists ready wheels')
    args = parser.parse_args()
    print(provide(args.version, args.cache, args.find_links))


if __name__ == '__main__':
    main()
