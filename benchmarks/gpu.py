"""Kernels, backbones and whole models on one NVIDIA GPU: ``python -m benchmarks.gpu``.

Checks every plan of every kernel against float64, measures what a copy and matrix products reach,
then times the fused operators on the stages' shapes, the backbones, and whole detectors and
segmenters, against eager and compiled torch, timm, the official form and stock OpenMMLab. It ends
within 9 minutes and says what it left out. Each fact is a line of JSON, written when it is known.
Sides whose packages are not installed are left out with a line. See docs/gpu.md.

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

from convnext_dense.cores import core_count

#: in their order; a kernel's plans, then what a user runs, then the long tail of shapes
PARTS = ('checks', 'backbones', 'models', 'kernels')
SECONDS = 520  # of the 9 minutes; the rest is for starting, and for the last case begun
TINY = 'configs/demo/upernet_convnext_shapes.py'


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, metavar='PART',
                        help=f'of {", ".join(PARTS)} (default: all)')
    parser.add_argument('--out', default='gpu.jsonl', help='file that gets a line for each fact; '
                        'lines that it has stay (%(default)s)')
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
    with open(args.out, 'a') as file:
        def keep(part, fact):
            file.write(json.dumps(dict(part=part, **fact)) + '\n')
            file.flush()
        checked = [fact['passed'] for part, fact in run(
            smoke() if args.smoke else full(), args.seconds, args.parts, keep) if part == 'checks']
    print(f'all results are in {args.out}')
    # what was not checked has not passed
    return 0 if 'checks' not in args.parts or checked and False not in checked else 1


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


def run(plan, seconds, parts=PARTS, keep=lambda part, fact: None,
        report=lambda text: print(text, flush=True)):
    """Check and measure all of a plan.

    Args:
        plan (dict): see :func:`full`.
        seconds (float): after which nothing new is begun.
        parts (Sequence[str]): of ``PARTS``.
        keep (Callable[[str, dict], None]): gets each fact when it is known: its part and plain
            values. Beside the parts there are ``machine``, ``rates`` and, at the end, ``left_out``.

    Returns:
        list[tuple[str, dict]]: all facts.
    """
    import torch
    from mmengine.logging import MMLogger

    from benchmarks import gpu_checks, gpu_kernels, gpu_models
    from benchmarks.gpu_measuring import Budget, Clock, machine_rates
    from convnext_dense.acceleration.triton import give_kernels
    from convnext_dense.analysis.machine import describe_machine
    MMLogger.get_current_instance().setLevel('WARNING')
    begin, budget, device = time.monotonic(), Budget(seconds), plan['device']
    facts = []

    def note(part, fact):
        facts.append((part, fact))
        keep(part, fact)

    _, form = give_kernels(torch.nn.Identity(), 'triton', torch.device(device))
    machine = dict(describe_machine(device), ops=form)
    note('machine', machine)
    report(f'{machine.get("gpu", machine["cpu"])}, torch {torch.__version__}, {machine["ops"]}')
    if device == 'cuda':
        compile_beforehand(plan, budget.section(.25), report)
    clock = Clock(device, plan['rounds'])
    rates = machine_rates(clock, plan['matrix'])
    note('rates', rates)
    report(f'copy {rates["copy"] / 1e12:.3f} TB/s, matrix product bf16 '
           f'{rates["bf16"] / 1e12:.1f} and fp32 {rates["fp32"] / 1e12:.1f} T operations/s')
    measured = dict(
        checks=lambda budget: gpu_checks.check(device, plan['check_shapes'], plan['dtypes'],
                                               budget, report),
        backbones=lambda budget: gpu_models.measure_backbones(
            clock, plan['backbones'], budget, report, plan['backbone_compile_options'],
            plan['archs']),
        models=lambda budget: gpu_models.measure_models(clock, plan['models'], budget, report),
        kernels=lambda budget: gpu_kernels.measure(
            clock, plan['shapes'], rates, budget, report, plan['compile_options'],
            plan['detailed']))
    chosen = [part for part in PARTS if part in parts]
    for index, part in enumerate(chosen):
        for fact in measured[part](budget.section(1 / (len(chosen) - index))):
            note(part, fact)
        if part == 'checks':
            found = [fact['passed'] for name, fact in facts if name == 'checks']
            report(f'checked {len(found)} plans against float64: {found.count(True)} passed, '
                   f'{found.count(False)} failed, {found.count(None)} do not fit this GPU')
    if budget.left_out:
        report(f'left out for lack of time or memory: {len(budget.left_out)} cases, '
               f'from {budget.left_out[0]} to {budget.left_out[-1]}')
    note('left_out', dict(cases=budget.left_out, seconds=time.monotonic() - begin))
    return facts


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
