"""Make the environment ``.venv``: torch, mmcv with compiled operators, the toolkit, its extras.

Needs Python 3.10 to 3.12 with pip and, where no ready wheel of mmcv fits, a C++ compiler. It does
nothing when nothing changed. Called by the Makefile; settings are environment variables:

  TORCH_INDEX   index to take torch from, e.g. https://download.pytorch.org/whl/cpu (small, no GPU)
                or https://download.pytorch.org/whl/cu128; default: pip's own
  MMCV_LINKS    folder or page with ready wheels of onedl-mmcv, e.g. for CUDA
  XDG_CACHE_HOME  where a built wheel is kept (default: ~/.cache)
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'installed.json'
CONSTRAINTS = ROOT / 'constraints.txt'
BUILD_TOOLS = ('setuptools', 'wheel', 'ninja', 'psutil', 'packaging')
# Part of the extra `peers` that is installed without its dependencies: one of them does not exist
# (modelindex), and torchvision breaks mmdet beside a CPU torch.
PEERS_ALONE = ('onedl-mmpretrain', 'open-clip-torch', 'timm')
ORIGINALS = {'mmengine': 'onedl-mmengine', 'mmengine-lite': 'onedl-mmengine', 'mmcv': 'onedl-mmcv',
             'mmcv-lite': 'onedl-mmcv', 'mmcv-full': 'onedl-mmcv', 'mmdet': 'onedl-mmdetection',
             'mmsegmentation': 'onedl-mmsegmentation'}


def log(message):
    print(f'[set-up] {message}', flush=True)


def stop(message):
    raise SystemExit(f'[set-up] {message}')


def run(*command, **options):
    if subprocess.run([str(part) for part in command], check=False, **options).returncode:
        stop(f'this command failed, see above: {" ".join(map(str, command))}')


def pip_install(*arguments):
    run(PYTHON, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
        '--constraint', CONSTRAINTS, *arguments)


def pinned(name):
    """Version of ``name`` in the constraints file."""
    match = re.search(rf'^{re.escape(name)}==([^\s;]+)', CONSTRAINTS.read_text(), re.M)
    return match[1]


def installed_versions():
    """{distribution: version} of the environment, names in lower case."""
    code = ('import importlib.metadata as m, json; print(json.dumps({d.metadata["Name"].lower(): '
            'd.version for d in m.distributions() if d.metadata["Name"]}))')
    return json.loads(subprocess.check_output([str(PYTHON), '-c', code]))


def refuse_originals(installed):
    """Stop where a module would be owned by two distributions."""
    found = sorted(set(ORIGINALS) & set(installed))
    if found:
        stop(f'this environment holds {", ".join(found)}, which owns the same module as '
             f'{", ".join(sorted({ORIGINALS[name] for name in found}))}; together they break each '
             f'other. Either remove it ({PYTHON} -m pip uninstall {" ".join(found)}), or delete '
             f'{VENV} and run the set-up again for a clean environment.')


def fingerprint(extras):
    """Changes when the set-up has something to do."""
    files = [ROOT / 'setup.cfg', CONSTRAINTS, *sorted(Path(__file__).parent.glob('*.py'))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    settings = [os.environ.get(name, '') for name in ('TORCH_INDEX', 'MMCV_LINKS')]
    digest.update(repr((sys.version_info[:3], str(ROOT), settings)).encode())
    return {'inputs': digest.hexdigest(), 'extras': sorted(extras)}


def installed_before():
    """What the last set-up noted when it had ended; without inputs where none did."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {'inputs': None, 'extras': []}


def is_current(wanted):
    found = installed_before()
    return found['inputs'] == wanted['inputs'] and set(wanted['extras']) <= set(found['extras'])


def install_torch(installed):
    if installed.get('torch', '').split('+')[0] == pinned('torch'):
        return
    log(f'installing torch {pinned("torch")}')
    index = os.environ.get('TORCH_INDEX')
    pip_install(f'torch=={pinned("torch")}', *(['--extra-index-url', index] if index else []))


def install_mmcv(installed):
    version = pinned('onedl-mmcv')
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'convnext_dense'
    links = os.environ.get('MMCV_LINKS')
    output = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name('mmcv_wheel.py')), '--version', version,
         '--cache', str(cache), *(['--find-links', links] if links else [])],
        stdout=subprocess.PIPE, text=True, check=False)
    print(output.stdout, end='')
    if output.returncode:
        stop('mmcv could not be provided, see above')
    wheel = output.stdout.strip().splitlines()[-1]
    pip_install('--force-reinstall', '--no-deps', wheel)


def install_torchvision(cpu):
    """Beside the environment where it would break it: PyPI has no CPU build of it."""
    requirement = f'torchvision=={pinned("torchvision")}'
    if not cpu:
        pip_install('--no-deps', requirement)
    elif not (VENV / 'peers' / 'torchvision').is_dir():
        pip_install('--no-deps', '--target', VENV / 'peers', requirement)


def verify():
    """Check that what was installed loads, compiled operators included."""
    code = ('import cv2, hotcoco, mmdet, mmengine, mmseg, torch\n'
            'from mmcv.ops import nms\n'
            'import convnext_dense.models\n'
            'for device in ["cpu", *["cuda"] * torch.cuda.is_available()]:\n'
            '    nms(torch.tensor([[0., 0., 1., 1.]], device=device),\n'
            '        torch.ones(1, device=device), 0.5)\n')
    result = subprocess.run([str(PYTHON), '-c', code], stderr=subprocess.PIPE, text=True,
                            check=False)
    if not result.returncode:
        return
    sys.stderr.write(result.stderr)
    if 'mmcv._ext' in result.stderr:
        stop('mmcv was installed without its compiled operators. Install a C++ compiler (Debian: '
             f'apt-get install g++), delete {VENV} and run the set-up again.')
    if 'libGL' in result.stderr or 'libgthread' in result.stderr:
        stop('OpenCV misses a system library (Debian: apt-get install libgl1 libglib2.0-0)')
    stop('the environment does not import, see above')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--extras', nargs='*', default=[],
                        help='extras of setup.cfg: report, export, web, test, peers, lora, dev')
    args = parser.parse_args()
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        stop(f'Python 3.10 to 3.12 is needed, not {sys.version.split()[0]}; name one with '
             'make PYTHON=python3.11 ...')
    wanted = fingerprint(args.extras)
    if is_current(wanted):
        return
    start = time.monotonic()
    if not PYTHON.exists():
        log(f'making {VENV}')
        run(sys.executable, '-m', 'venv', VENV)
    refuse_originals(installed_versions())
    extras = {*args.extras, *installed_before()['extras']}
    STAMP.unlink(missing_ok=True)

    pip_install(*BUILD_TOOLS)
    install_torch(installed_versions())
    install_mmcv(installed_versions())
    log('installing the toolkit' + (f' with {", ".join(sorted(extras))}' if extras else ''))
    listed = ','.join(sorted(extras))
    pip_install('--editable', f'{ROOT}[{listed}]' if listed else ROOT)
    if 'peers' in extras:
        pip_install('--no-deps', *PEERS_ALONE)
        install_torchvision(cpu='+cpu' in installed_versions()['torch'])
    refuse_originals(installed_versions())
    verify()
    STAMP.write_text(json.dumps({**wanted, 'extras': sorted(extras)}))
    log(f'ready after {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
