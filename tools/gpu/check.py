"""All that a GPU has to show, on a machine with CUDA, torch, Triton and nvcc, without network.

python3 tools/gpu/check.py --packages .gpu --out results             # all parts, in their order
python3 tools/gpu/check.py --packages .gpu --out results checks      # one part
python3 tools/gpu/check.py --packages .gpu --out results --smoke     # rehearsal on a CPU

``tools/gpu/pack.py`` fills the folder of packages. A part is a process of its own with its own
limit. What it prints goes into PART.log, facts into PART.jsonl as they are known, and
``summary.json`` says after each part how it ended, so that nothing is lost when time runs out. A
part that is done is not done again, unless it is named.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Part(NamedTuple):
    """A part: what it is for, its command, and the most seconds that it may take."""
    title: str
    command: Callable[['Setting'], list[str]]
    seconds: int


class Setting(NamedTuple):
    """The folders, and whether this is the rehearsal."""
    packages: Path
    out: Path
    smoke: bool

    @property
    def site(self) -> Path:
        return self.out / 'site'


def benchmark(part: str) -> Callable[[Setting], list[str]]:
    def command(setting: Setting) -> list[str]:
        seconds = 60 if setting.smoke else PARTS[part].seconds - 30
        return [sys.executable, '-m', 'benchmarks.gpu', '--parts', part, '--seconds', str(seconds),
                '--out', str(setting.out / f'{part}.jsonl'),
                *(['--smoke'] if setting.smoke else [])]
    return command


def step(name: str) -> Callable[[Setting], list[str]]:
    def command(setting: Setting) -> list[str]:
        return [sys.executable, str(ROOT / 'tools' / 'gpu' / 'steps.py'), name, '--packages',
                str(setting.packages), '--out', str(setting.out),
                *(['--smoke'] if setting.smoke else [])]
    return command


def tests(setting: Setting) -> list[str]:
    return [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/gpu',
            '--override-ini', 'addopts=', '--durations=0']


PARTS = {
    'packages': Part('unpack the wheels; machine and versions', step('packages'), 120),
    'checks': Part('every plan of every kernel against float64', benchmark('checks'), 540),
    'mmcv': Part("mmcv's operators, built for this GPU, against the CPU's", step('mmcv'), 540),
    'training': Part('train, test, kill, resume, AMP, compile, graphs, predict', tests, 540),
    'backbones': Part('backbones beside timm and the official form', benchmark('backbones'), 540),
    'models': Part('detector and segmenter beside stock ones', benchmark('models'), 540),
    'kernels': Part('each fused operator on the shapes of detectors', benchmark('kernels'), 540)}


def environment(setting: Setting) -> dict[str, str]:
    """Packages of the folder before the machine's; caches and Triton's code below ``out``."""
    paths = [str(setting.site), str(ROOT), os.environ.get('PYTHONPATH', '')]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)),
                XDG_CACHE_HOME=str(setting.out / 'cache'), PYTHONUNBUFFERED='1',
                TRITON_CACHE_DIR=str(setting.out / 'cache' / 'triton'),
                CONVNEXT_DENSE_GPU_TESTS='cpu' if setting.smoke else 'cuda')


def run(name: str, setting: Setting) -> dict:
    """Run a part; returns how it ended."""
    part, begin = PARTS[name], time.monotonic()
    print(f'[{name}] {part.title}', flush=True)
    with open(setting.out / f'{name}.log', 'w') as log:
        try:
            code = subprocess.run(part.command(setting), cwd=ROOT, env=environment(setting),
                                  stdout=log, stderr=subprocess.STDOUT, timeout=part.seconds,
                                  check=False).returncode
            end = 'passed' if code == 0 else f'failed ({code})'
        except subprocess.TimeoutExpired:
            end = f'stopped after {part.seconds} s'
    tail = (setting.out / f'{name}.log').read_text(errors='replace').splitlines()[-3:]
    seconds = round(time.monotonic() - begin, 1)
    print(f'[{name}] {end} in {seconds} s: {" | ".join(tail)[-300:]}', flush=True)
    return dict(end=end, seconds=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'of {", ".join(PARTS)}')
    parser.add_argument('--packages', type=Path, required=True, help='what pack.py made')
    parser.add_argument('--out', type=Path, required=True, help='folder for the results')
    parser.add_argument('--smoke', action='store_true', help='a rehearsal on the CPU, in tiny')
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f'no part {unknown[0]}; there are {", ".join(PARTS)}')
    if not args.packages.is_dir():
        parser.error(f'{args.packages} is no folder; tools/gpu/pack.py makes it')
    setting = Setting(args.packages.resolve(), args.out.resolve(), args.smoke)
    setting.out.mkdir(parents=True, exist_ok=True)
    path = setting.out / 'summary.json'
    summary = json.loads(path.read_text()) if path.is_file() else {}
    for name in args.parts or PARTS:
        if not args.parts and summary.get(name, {}).get('end') == 'passed':
            continue
        summary[name] = run(name, setting)
        path.write_text(json.dumps(summary, indent=1) + '\n')
    return int(any(value['end'] != 'passed' for value in summary.values()))


if __name__ == '__main__':
    sys.exit(main())
