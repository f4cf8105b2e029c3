"""Put what a GPU machine without network needs into one folder.

python tools/gpu/pack.py --out .gpu --python 3.12

The folder gets wheels of the packages that ``tools/gpu/check.py`` uses and that a machine with
torch usually lacks, for its Python on 64-bit Linux, and the source of mmcv, whose CUDA operators
are built there. Copy this folder and the clone to the machine. Run it in the set-up's environment:
versions are those that are installed here.
"""
import argparse
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: beside what setup.cfg requires
ROOTS = ('timm', 'onedl-mmpretrain', 'pytest')
#: large packages that are there where torch is, and packages that only a CPU's tests need
PRESENT = {
    'torch', 'torchvision', 'triton', 'numpy', 'scipy', 'opencv-python', 'opencv-python-headless',
    'pandas', 'matplotlib', 'pillow', 'sympy', 'networkx', 'jinja2', 'fsspec', 'filelock',
    'setuptools', 'pyyaml', 'tqdm', 'huggingface-hub', 'safetensors', 'requests', 'packaging',
    'typing-extensions', 'rich', 'regex', 'pygments', 'six', 'python-dateutil', 'psutil',
    'onedl-mmcv', 'scikit-learn', 'numba', 'llvmlite', 'scikit-image', 'imageio', 'tifffile',
    'cycler', 'kiwisolver', 'fonttools',
    'contourpy', 'pyparsing', 'markdown', 'lazy-loader', 'einops'}
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux_2_24_x86_64',
             'manylinux_2_17_x86_64', 'manylinux2014_x86_64', 'manylinux1_x86_64')
MOST_MIB = 64


def required() -> list[str]:
    """What the toolkit itself requires."""
    from configparser import ConfigParser

    from packaging.requirements import Requirement
    parser = ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    lines = parser['options']['install_requires'].splitlines()
    return [Requirement(line).name for line in lines if line.strip()]


def needed(present: set[str] = PRESENT) -> dict[str, str]:
    """{distribution: version} of all that is required and not there, as installed here."""
    from packaging.requirements import Requirement
    found: dict[str, str] = {}
    waiting, seen = [*ROOTS, *required()], set()
    while waiting:
        name = waiting.pop().lower().replace('_', '-')
        if name in seen or name in present:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an optional one, or one that the set-up leaves out
        found[name] = distribution.version
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
                waiting.append(requirement.name)
    return dict(sorted(found.items()))


def pip(*arguments: str) -> bool:
    return not subprocess.run([sys.executable, '-m', 'pip', '--disable-pip-version-check',
                               '--quiet', *arguments], check=False).returncode


def pack(out: Path, python: str) -> list[str]:
    """Fill the folder; returns what could not be had as a wheel for that Python."""
    out.mkdir(parents=True, exist_ok=True)
    missing = []
    for name, version in needed().items():
        target = ['--python-version', python, '--implementation', 'cp',
                  *(part for platform in PLATFORMS for part in ('--platform', platform))]
        exact = f'{name}=={version}'
        # a package without wheels that is pure Python is built here and runs everywhere
        if not pip('download', '--no-deps', '--only-binary=:all:', *target, '-d', str(out), exact) \
                and not pip('wheel', '--no-deps', '-w', str(out), exact):
            missing.append(exact)
    version = metadata.version('onedl-mmcv')
    if not list(out.glob('onedl_mmcv*')) and not pip(
            'download', '--no-deps', '--no-build-isolation', '--no-binary', 'onedl-mmcv', '-d',
            str(out), f'onedl-mmcv=={version}'):
        missing.append(f'onedl-mmcv=={version}')
    return missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('.gpu'), help='the folder (%(default)s)')
    parser.add_argument('--python', default='3.12', help="the machine's Python (%(default)s)")
    args = parser.parse_args()
    missing = pack(args.out, args.python)
    files = sorted(args.out.iterdir())
    size = sum(path.stat().st_size for path in files) / 2**20
    print(f'{args.out}: {len(files)} files, {size:.1f} MiB')
    for name in missing:
        print(f'missing: {name} has no wheel for Python {args.python}', file=sys.stderr)
    if size > MOST_MIB:
        print(f'{size:.0f} MiB is more than {MOST_MIB}: name large packages that the machine has '
              'in PRESENT', file=sys.stderr)
    return 1 if missing or size > MOST_MIB else 0


if __name__ == '__main__':
    sys.exit(main())
