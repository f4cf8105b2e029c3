"""Kernels, backbones and whole models on one NVIDIA GPU: ``python -m benchmarks.gpu``.

Checks every kernel against float64, measures what a copy and matrix products reach, then times the
fused operators on the stages' shapes, the backbones, and whole detectors and segmenters, against
eager and compiled torch, timm, the official form and stock OpenMMLab. It ends within 9 minutes,
says what it left out, and writes all results as JSON. Parts whose packages are not installed are
left out with a line. See docs/gpu.md.

``--smoke`` runs all of it in tiny on a CPU, under Triton's interpreter, to try the code; its times
mean nothing.
"""
import argparse
import json
import os
import sys
import time
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from convnext_dense.cores import core_count

SECONDS = 520  # of the 9 minutes; the rest is for starting, and for the last case begun
TINY = 'configs/demo/upernet_convnext_shapes.py'


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='gpu.json', help='where the results go (%(default)s)')
    parser.add_argument('--seconds', type=float, default=SECONDS,
                        help='time for the measurements (%(default)s)')
    parser.add_argument('--smoke', action='store_true', help='a tiny run on the CPU')
    args = parser.parse_args(arguments)
    if args.smoke:
        os.environ['TRITON_INTERPRET'] = '1'  # before anything imports Triton
    import torch
    if not args.smoke and not torch.cuda.is_available():
        print(f'benchmarks.gpu: torch {torch.__version__} finds no CUDA GPU here; nothing was '
              'measured', file=sys.stderr)
        return 2
    if find_spec('triton') is None:
        print('benchmarks.gpu: Triton is not installed', file=sys.stderr)
        return 2
    results = run(smoke() if args.smoke else full(), args.seconds)
    Path(args.out).write_text(json.dumps(results, indent=1) + '\n')
    print(f'all results are in {args.out}')
    return 0 if all(case['passed'] for case in results['checks']) else 1


def full():
    """What a GPU is measured with."""
    import torch

    from benchmarks import gpu_kernels, gpu_models
    return dict(
        device='cuda', rounds=20, matrix=8192,
        check_shapes=[(2, 96, 56, 56), (1, 384, 25, 38), (3, 768, 7, 7), (2, 40, 13, 19)],
        dtypes=[torch.float32, torch.float16, torch.bfloat16],
        shapes=gpu_kernels.stage_shapes('TBL', gpu_kernels.SIZES),
        detailed=gpu_kernels.stage_shapes('T', gpu_kernels.SIZES[:2]),
        backbones=gpu_models.BACKBONES, archs=gpu_models.ARCHS, models=gpu_models.MODELS,
        compile_options=dict(dynamic=True), backbone_compile_options=dict(dynamic=False))


def smoke():
    """The same in tiny, on a CPU."""
    import torch
    tiny = dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8))
    shapes = {(1, 5, 2, 3): 'tiny'}
    return dict(
        device='cpu', rounds=2, matrix=64, check_shapes=[(2, 5, 3, 4)],
        dtypes=[torch.float32, torch.bfloat16],
        shapes=shapes, detailed=shapes,
        backbones=[('V1', 'T', (32, 32), 1), ('V2', 'T', (32, 32), 1)], archs=dict(T=tiny),
        models={'tiny UperNet': (os.path.relpath(TINY, 'configs'), (64, 64), 2)},
        compile_options=dict(backend='aot_eager'), backbone_compile_options=dict(backend='eager'))


def run(plan, seconds, report=lambda text: print(text, flush=True)):
    """Check and measure all of a plan.

    Args:
        plan (dict): see :func:`full`.
        seconds (float): after which nothing new is begun.

    Returns:
        dict: plain values: ``machine``, ``rates``, ``checks``, ``kernels``, ``backbones``,
        ``models``, ``left_out`` and ``seconds``.
    """
    import torch
    from mmengine.logging import MMLogger

    from benchmarks import gpu_kernels, gpu_models
    from benchmarks.gpu_measuring import Budget, Clock, machine_rates
    from convnext_dense.acceleration.triton import give_kernels
    from convnext_dense.analysis.machine import describe_machine
    MMLogger.get_current_instance().setLevel('WARNING')
    begin, budget, device = time.monotonic(), Budget(seconds), plan['device']
    _, form = give_kernels(torch.nn.Identity(), 'triton', torch.device(device))
    machine = dict(describe_machine(device), ops=form)
    report(f'{machine.get("gpu", machine["cpu"])}, torch {torch.__version__}, {machine["ops"]}')
    if device == 'cuda':
        compile_beforehand(plan, budget.section(.25), report)
    clock = Clock(device, plan['rounds'])
    rates = machine_rates(clock, plan['matrix'])
    report(f'copy {rates["copy"] / 1e12:.3f} TB/s, matrix product bf16 '
           f'{rates["bf16"] / 1e12:.1f} and fp32 {rates["fp32"] / 1e12:.1f} T operations/s')
    results = dict(machine=machine, rates=rates)
    results['checks'] = gpu_kernels.check(device, plan['check_shapes'], plan['dtypes'],
                                          budget.section(.15), report)
    # the whole models and backbones come before the long tail of shapes
    results['models'] = gpu_models.measure_models(clock, plan['models'], budget.section(.4), report)
    results['backbones'] = gpu_models.measure_backbones(
        clock, plan['backbones'], budget.section(.6), report, plan['backbone_compile_options'],
        plan['archs'])
    results['kernels'] = gpu_kernels.measure(clock, plan['shapes'], rates, budget, report,
                                             plan['compile_options'], plan['detailed'])
    if budget.left_out:
        report(f'left out for lack of time or memory: {len(budget.left_out)} cases, '
               f'from {budget.left_out[0]} to {budget.left_out[-1]}')
    results.update(left_out=budget.left_out, seconds=time.monotonic() - begin)
    return results


def compile_beforehand(plan, budget, report):
    """Compile all kernels in several processes; the measuring one finds them on disk."""
    from benchmarks.gpu_kernels import compile_plans
    channels = sorted({shape[1] for shape in plan['shapes']})
    begin = time.monotonic()
    with get_context('spawn').Pool(min(len(channels), core_count())) as pool:
        jobs = {count: pool.apply_async(compile_plans, (count, )) for count in channels}
        for count, job in jobs.items():
            try:
                job.get(max(budget.left(), 0))
            except Exception as error:  # it is compiled, or fails, again where it is used
                report(f'kernels of {count} channels were not compiled beforehand: {error!r:.200}')
    report(f'compiled the kernels of {len(channels)} channel counts in '
           f'{time.monotonic() - begin:.0f} s')


if __name__ == '__main__':
    sys.exit(main())
