"""Every plan of every fused operator against plain torch in float64.

Plans are chosen by time, so what an operator gives depends on the machine: each must be right. All
memory is filled with NaN before an operator writes it (torch does that in deterministic mode), and
float32 products keep their 23 bits.
"""
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from unittest import mock

import torch

from benchmarks.gpu_kernels import Step, inputs_of, steps
from benchmarks.gpu_measuring import Budget

#: relative errors allowed in the norm of a result: sums in float32, results in the map's type
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


def check(device: str, shapes: Iterable[tuple[int, ...]], dtypes: Iterable[torch.dtype],
          budget: Budget, report: Callable[[str], None]) -> Iterator[dict]:
    """Compare values and gradients of every operator, with each of its plans, with float64.

    The n-th run of an operator takes the n-th plan of each of its steps (convolution, gradients,
    norm), or the last where a step has fewer, until every plan has been taken.

    Yields:
        dict: step, shape, type, plans, the largest relative error of an output or gradient, and
        ``passed``; None where a plan does not compile for this GPU, with ``reason``.
    """
    dtypes = list(dtypes)
    for shape in shapes:
        for name, step in steps().items():
            for dtype in dtypes:
                for number in count():
                    label = f'check {name} {shape} {dtype} plan {number}'
                    if not budget.allows(label):
                        break
                    result, more = _check_plan(step, shape, device, dtype, number)
                    result = dict(step=name, shape=list(shape), dtype=str(dtype), **result)
                    if result['passed'] is None:
                        report(f'left out {label}: {result["reason"]}')
                    elif not result['passed']:
                        report(f'FAILED {label}: relative error {result["error"]:.2g}, allowed '
                               f'{TOLERANCES[dtype]:.2g}, {", ".join(result["plans"])}')
                    yield result
                    if not more:
                        break


def _check_plan(step: Step, shape, device, dtype, number) -> tuple[dict, bool]:
    """The result of the n-th plans, and whether a step has further ones."""
    import triton

    from convnext_dense.acceleration.triton import operators
    taken: dict[str, str] = {}
    more = []

    def choose(name, x, plans, run):
        ways = plans()
        plan = ways[min(number, len(ways) - 1)]
        taken[name] = f'{name}: {plan.how} {tuple(plan.tile) if plan.tile else ""}'.rstrip()
        more.append(number + 1 < len(ways))
        return plan

    try:
        with mock.patch.object(operators, 'choose', choose), exact_and_filled(device):
            error = max(errors(step, *inputs_of(step, shape, device, dtype)))
    except triton.TritonError as reason:  # registers or shared memory of this GPU
        return dict(plans=list(taken.values()), passed=None, error=None,
                    reason=f'{type(reason).__name__}: {reason}'[:300]), any(more)
    return dict(plans=list(taken.values()), error=error,
                passed=bool(error <= TOLERANCES[dtype])), any(more)


@contextmanager
def exact_and_filled(device: str) -> Iterator[None]:
    """New memory holds NaN, and neither products nor convolutions round to TF32."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            if not torch.empty(1, device=device).isnan().all():
                raise RuntimeError('new memory is not filled with NaN: '
                                   'torch.utils.deterministic.fill_uninitialized_memory is off')
            yield
    finally:
        torch.use_deterministic_algorithms(was)


def errors(step: Step, inputs, constants) -> Iterator[float]:
    """Relative errors of the output and of each gradient."""
    ours = [x.detach().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    output = step.fused(*ours, *constants)
    expected = step.plain(*exact, *(x.double() for x in constants))
    grad = torch.randn_like(expected).to(output.dtype)
    gradients = torch.autograd.grad(output, ours, grad)
    references = torch.autograd.grad(expected, exact, grad.double())
    for a, b in zip((output, *gradients), (expected, *references), strict=True):
        error = (a.detach().double() - b.detach()).norm() / b.detach().norm().clamp(min=1e-30)
        yield float(error.nan_to_num(nan=torch.inf))
