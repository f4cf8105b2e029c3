"""The steps of ``check.py`` that are no benchmark and no test: packages and mmcv's operators."""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'setup'))
import mmcv_wheel  # noqa: E402


def install(wheels: list[Path], site: Path) -> None:
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps',
                    '--no-compile', '--upgrade', '--target', str(site), *map(str, wheels)],
                   check=True)


def packages(folder: Path, out: Path, smoke: bool) -> None:
    """Install the wheels and write down machine and versions."""
    install([path for path in sorted(folder.glob('*.whl')) if 'onedl_mmcv' not in path.name],
            out / 'site')
    import torch
    facts = dict(python=platform.python_version(), torch=torch.__version__,
                 cuda=torch.version.cuda, system=platform.platform())
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts.update(gpu=properties.name, memory_GiB=round(properties.total_memory / 2**30, 1),
                     capability=f'{properties.major}.{properties.minor}',
                     processors=properties.multi_processor_count)
    elif not smoke:
        raise SystemExit(f'torch {torch.__version__} finds no CUDA GPU here')
    try:
        import triton
        facts['triton'] = triton.__version__
    except ImportError:
        facts['triton'] = None
    (out / 'packages.jsonl').write_text(json.dumps(dict(part='machine', **facts)) + '\n')
    print(json.dumps(facts))


def mmcv(folder: Path, out: Path, smoke: bool) -> None:
    """Build mmcv's operators for this GPU, or take a wheel that is there, and try them."""
    wheels = sorted([*folder.glob('onedl_mmcv*.whl'), *out.glob('onedl_mmcv*.whl')])
    wheel = wheels[0] if wheels else build(next(folder.glob('onedl_mmcv*.tar.gz')), out, smoke)
    install([wheel], out / 'site')
    sys.path.insert(0, str(out / 'site'))
    compare('cpu' if smoke else 'cuda')


def build(archive: Path, out: Path, smoke: bool) -> Path:
    """A wheel with the operators of this GPU's compute capability; of the CPU for a rehearsal."""
    import torch
    if not smoke:
        major, minor = torch.cuda.get_device_capability()
        os.environ.update(FORCE_CUDA='1', TORCH_CUDA_ARCH_LIST=f'{major}.{minor}')
    with tempfile.TemporaryDirectory() as temporary:
        source = mmcv_wheel.unpack(archive, Path(temporary) / 'source')
        mmcv_wheel.group_sources(source / 'mmcv' / 'ops' / 'csrc' / 'pytorch')
        mmcv_wheel.build(source, Path(temporary) / 'wheel')
        wheel = next(Path(temporary, 'wheel').glob('*.whl'))
        return Path(shutil.copy(wheel, out / wheel.name))


def compare(device: str) -> None:
    """NMS and RoIAlign, forward and backward, on the device and on the CPU."""
    import mmcv.ops
    import torch
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2000, 2, generator=generator) * 400
    boxes = torch.cat([corners, corners + 1 + torch.rand(2000, 2, generator=generator) * 80], 1)
    scores = torch.rand(2000, generator=generator)
    kept = {place: mmcv.ops.nms(boxes.to(place), scores.to(place), .5)[1].cpu()
            for place in ('cpu', device)}
    assert torch.equal(kept['cpu'], kept[device]), 'NMS keeps other boxes'
    rois = torch.cat([torch.zeros(300, 1), boxes[:300]], 1)
    maps = torch.randn(1, 16, 120, 120, generator=generator)
    found = {}
    for place in ('cpu', device):
        x = maps.to(place).detach().requires_grad_()
        features = mmcv.ops.RoIAlign(7, .25, 2)(x, rois.to(place))
        features.square().sum().backward()
        found[place] = features.detach().cpu(), x.grad.cpu()
    for ours, expected in zip(found[device], found['cpu']):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    print(f'NMS keeps the same {len(kept[device])} boxes, RoIAlign is within 1e-4 on {device}')


def main() -> None:
    steps = dict(packages=packages, mmcv=mmcv)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('step', choices=steps)
    parser.add_argument('--packages', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--smoke', action='store_true')
    args = parser.parse_args()
    steps[args.step](args.packages, args.out, args.smoke)


if __name__ == '__main__':
    main()
