"""Comparing implementations: their outputs first, then time in turns, then memory."""
import gc
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.packages import MissingPackage

#: what ``time`` calls the clocks: the second leaves out what other processes take
CLOCKS = dict(wall='perf_counter', cpu='process_time')
MATRIX = 1536  # rows and columns of the matrices whose product gives the machine's rate


class Differs(Exception):
    """The outputs of two sides are not the same."""


def build(row, report=print, only=()):
    """The sides of a row whose packages are installed: dict of names to ``Side``.

    Args:
        only (Sequence[str]): names to build beside ours; empty builds all.
    """
    sides, builders = {}, row.sides()
    for name in chosen(builders, only):
        try:
            sides[name] = builders[name]()
        except MissingPackage as missing:
            report(f'{row.name}: without {name}: {missing}')
    return sides


def chosen(names, only):
    """``ours`` and those of ``only`` among names; all of them where ``only`` is empty."""
    return [name for name in names if not only or name in ('ours', *only)]


def compare(row, sides):
    """How the outputs of each peer compare with ours.

    Returns:
        tuple: dict of a line for each other side, and the operations of the row's peer (of ours
        where the peer is missing), see :func:`count_operations`.

    Raises:
        Differs: by more than the row allows.
    """
    reference, outputs = row.peer if row.peer in sides else 'ours', {}
    for name, side in sides.items():
        work = side.outputs or side.step
        if name == reference:
            operations, outputs[name] = count_operations(work)
        else:
            outputs[name] = work()
    ours = outputs.pop('ours')
    check = row.compare or (lambda a, b: compare_tensors(a, b, row.tolerance))
    lines = {}
    for name, theirs in outputs.items():
        try:
            lines[name] = check(ours, theirs)
        except Differs as difference:
            raise Differs(f'{row.name}: ours and {name}: {difference}') from None
    return lines, operations


def compare_tensors(ours, theirs, tolerance):
    """Compare two dicts of tensors, each relative to its largest value."""
    if ours.keys() != theirs.keys():
        raise Differs(f'the outputs are {sorted(ours)} and {sorted(theirs)}')
    worst, where = 0., None
    for name, expected in theirs.items():
        if ours[name].shape != expected.shape:
            raise Differs(f'{name} has the shapes {ours[name].shape} and {expected.shape}')
        scale = max(float(expected.detach().abs().max()), 1e-12) if expected.numel() else 1.
        difference = float((ours[name] - expected).detach().abs().max()) / scale \
            if expected.numel() else 0.
        if not difference <= worst:
            worst, where = difference, name
    if not worst <= tolerance:
        raise Differs(f'{where} differs by {worst:.2g} of its largest value')
    return f'{len(theirs)} tensors within {worst:.1e} of their largest value'


def timed(call, clock='wall'):
    read = getattr(time, CLOCKS[clock])
    begin = read()
    call()
    return read() - begin


class MatrixProduct:
    """A product of two square matrices, whose rate is the measure of the machine."""

    operations = 2 * MATRIX**3

    def __init__(self):
        self.a, self.b = torch.rand(2, MATRIX, MATRIX).unbind()

    def step(self):
        torch.mm(self.a, self.b)


def measure_time(sides, seconds, least_rounds=3, clock='wall'):
    """Time the sides in turns; each round runs every side and a matrix product once.

    Args:
        sides (dict): names to ``Side``.
        seconds (float): rounds are added until so much time is spent.
        least_rounds (int): rounds there are at least.
        clock (str): of :data:`CLOCKS`.

    Returns:
        tuple: dict of names to the seconds of each round, and the seconds of the matrix product.
    """
    runs, products = {name: [] for name in sides}, []
    matrix = MatrixProduct()
    matrix.step()
    gc.collect()
    begin = time.perf_counter()
    names = list(sides)
    while len(products) < least_rounds or time.perf_counter() - begin < seconds:
        # each round starts with another side: none is always the first after the product
        first = len(products) % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(timed(sides[name].step, clock))
        products.append(timed(matrix.step, clock))
    return runs, products


def count_operations(work):
    """Floating-point operations of convolutions and matrix products during a call; its result."""
    from torch.utils.flop_counter import FlopCounterMode
    # torch's own formula takes the filter gradient of a grouped convolution for a dense one's
    backward = {torch.ops.aten.convolution_backward: _convolution_backward_operations}
    with FlopCounterMode(display=False, custom_mapping=backward) as counter:
        result = work()
    return counter.get_total_flops(), result


def _convolution_backward_operations(grad, x, weight, _bias, _stride, _padding, _dilation,
                                     transposed, _output_padding, _groups, output_mask,
                                     out_shape=None):
    """Each of the gradients of map and filter takes what the forward pass does; from shapes."""
    forward = 2 * math.prod(x if transposed else grad) * math.prod(weight[1:])
    return forward * (output_mask[0] + output_mask[1])


def summary(row, runs, products, operations):
    """What was measured, as plain values.

    Returns:
        dict: ``sides`` with the median seconds of each and, where it is not ours, the median,
        least and greatest ratio of its time to ours over the rounds; ``fraction``: the rate of
        ours over that of the matrix product; ``fastest``: the fastest peer against the fastest
        form of ours.
    """
    sides = {name: dict(seconds=median(seconds)) for name, seconds in runs.items()}
    own = {name for name in sides if name.startswith('ours')}
    for name in sides.keys() - {'ours'}:
        sides[name].update(ratios(runs[name], runs['ours']))
    quickest = [min(names, key=lambda name: sides[name]['seconds'])
                for names in (sides.keys() - own, own)]
    rate = MatrixProduct.operations / median(products)
    return dict(title=row.title, peer=row.peer, bar=row.bar, fastest_bar=row.fastest_bar,
                rounds=len(products), sides=sides, operations=operations, matrix_rate=rate,
                fraction=operations / sides['ours']['seconds'] / rate,
                fastest=dict(peer=quickest[0], ours=quickest[1],
                             **ratios(*(runs[name] for name in quickest))))


def ratios(theirs, ours):
    """Median, least and greatest ratio of two lists of seconds, round by round."""
    values = [a / b for a, b in zip(theirs, ours, strict=True)]
    return dict(ratio=median(values), least=min(values), greatest=max(values))


# --- memory -------------------------------------------------------------------------------------

def measure_memory(row, name):
    """Peak memory of one side in a process of its own, in MiB above what its libraries take."""
    result = subprocess.run([sys.executable, '-m', 'benchmarks.peers', '--peak', row.name, name],
                            capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f'{row.name}, {name}: {result.stderr[-2000:]}')
    return json.loads(result.stdout.splitlines()[-1])


def peak(row, name):
    """Run two steps of one side in this process; MiB between the end of the imports and the peak.

    The model, its gradients and what the optimiser keeps count; the first step, in which
    operators choose their algorithms, does not.
    """
    builder = row.sides()[name]
    builder()  # imports
    gc.collect()
    return_freed_memory()
    before = resident('VmRSS')
    side = builder()
    side.step()
    gc.collect()
    return_freed_memory()  # of building the side
    reset_peak()
    side.step()
    side.step()
    return resident('VmHWM') - before


def return_freed_memory() -> None:
    """Give memory that was freed back to the system."""
    import ctypes
    ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Let this process's peak, VmHWM, begin anew."""
    Path('/proc/self/clear_refs').write_text('5')


def resident(name):
    """VmRSS (now) or VmHWM (peak) of this process in MiB."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f'no {name} in /proc/self/status')


# --- where the time goes ------------------------------------------------------------------------

def profile(step, rows=20):
    """A table of the operators of a step, by the time that each takes itself."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record
    step()
    with record(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    return recorded.key_averages().table(
        sort_by='self_cpu_time_total', row_limit=rows, max_name_column_width=50)
