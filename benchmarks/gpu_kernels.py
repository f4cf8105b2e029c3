"""The fused operators, timed against eager and compiled torch."""
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.gpu_measuring import line, ratios

EPS = 1e-6
CHANNELS = dict(T=(96, 192, 384, 768), B=(128, 256, 512, 1024), L=(192, 384, 768, 1536))
#: image sizes and batches, the ones that the bar names first
SIZES = [((224, 224), 64), ((800, 1216), 2), ((512, 512), 16), ((800, 1216), 1), ((512, 512), 2),
         ((224, 224), 16), ((512, 512), 1), ((224, 224), 2), ((224, 224), 1), ((800, 1216), 16),
         ((512, 512), 64), ((800, 1216), 64)]


def stage_shapes(models, sizes):
    """Shapes (N, C, H, W) of the stages, each once, in order; and the models' names."""
    shapes = {}
    for (height, width), batch in sizes:
        for model in models:
            for stage, channels in enumerate(CHANNELS[model]):
                stride = 4 * 2**stage
                shape = batch, channels, height // stride, width // stride
                shapes.setdefault(shape, f'{model}{stage + 1} {batch}x{height}x{width}')
    return shapes


# -- the steps, in plain torch -------------------------------------------------------------------


def dwconv_norm(x, weight, bias, norm_weight, norm_bias):
    x = F.conv2d(x, weight, bias, padding=3, groups=x.shape[1]).permute(0, 2, 3, 1)
    return F.layer_norm(x, x.shape[3:], norm_weight, norm_bias, EPS)


def layer_norm(x, weight, bias):
    x = x.permute(0, 2, 3, 1)
    return F.layer_norm(x, x.shape[3:], weight, bias, EPS).permute(0, 3, 1, 2)


def gelu_linear(x, weight, bias):
    return F.linear(F.gelu(x), weight, bias)


def gelu_grn_linear(x, weight, bias, gamma, beta):
    x = F.gelu(x)
    norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    x = torch.addcmul(beta, gamma * (norm / (norm.mean(-1, keepdim=True) + EPS)) + 1, x)
    return F.linear(x, weight, bias)


def residual(x, branch, gamma, factor):
    return x + (branch * gamma * factor[:, None, None, None]).permute(0, 3, 1, 2)


class Step(NamedTuple):
    """A fused operator, the same in plain torch, and what to try them on."""
    fused: Callable
    plain: Callable
    make: Callable  # the inputs for a shape (N, C, H, W): maps first, then parameters
    maps: int = 1  # how many of them are maps; the rest are parameters
    constants: Callable = lambda shape: []  # what gets no gradient


def steps():
    """{name: Step} of all operators."""
    from convnext_dense.acceleration.triton import operators as fused

    def maps(shape):
        return torch.randn(shape).contiguous(memory_format=torch.channels_last)

    def last(shape, times=1):
        n, c, h, w = shape
        return torch.randn(n, h, w, times * c)

    def vectors(channels, count):
        return [torch.randn(channels) for _ in range(count)]

    def linear(shape):
        c = shape[1]
        return [last(shape, 4), torch.randn(c, 4 * c) * (4 * c)**-.5, torch.randn(c)]

    return dict(
        dwconv_norm=Step(lambda *t: fused.dwconv_norm(*t, EPS), dwconv_norm, lambda shape: [
            maps(shape), torch.randn(shape[1], 1, 7, 7) / 7, *vectors(shape[1], 3)]),
        gelu_grn_linear=Step(lambda *t: fused.activated_linear(*t, EPS), gelu_grn_linear,
                             lambda shape: [*linear(shape), *vectors(4 * shape[1], 2)]),
        gelu_linear=Step(fused.activated_linear, gelu_linear, linear),
        residual=Step(fused.scaled_residual, residual,
                      lambda shape: [maps(shape), last(shape), *vectors(shape[1], 1)], maps=2,
                      constants=lambda shape: [torch.arange(shape[0]) % 2 * 2.]),
        layer_norm=Step(lambda *t: fused.layer_norm(*t, EPS), layer_norm,
                        lambda shape: [maps(shape), *vectors(shape[1], 2)]),
        layer_norm_channels_first=Step(
            lambda *t: fused.layer_norm(*t, EPS), layer_norm,
            lambda shape: [torch.randn(shape), *vectors(shape[1], 2)]))


def inputs_of(step, shape, device, dtype, parameters=torch.float32):
    """Maps in ``dtype``, as autocast gives them, parameters in their own; and the constants."""
    torch.manual_seed(0)
    inputs = [x.to(device, dtype if index < step.maps else parameters)
              for index, x in enumerate(step.make(shape))]
    return inputs, [x.to(device) for x in step.constants(shape)]


def calls(function, inputs, constants):
    """Calls of ``function`` without gradients, and with its backward pass."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    grad = torch.randn_like(function(*leaves, *constants))

    def forward():
        with torch.no_grad():
            return function(*leaves, *constants)

    def both():
        return torch.autograd.grad(function(*leaves, *constants), leaves, grad)
    return forward, both


# -- measure -------------------------------------------------------------------------------------


def measure(clock, shapes, rates, budget, report, compile_options, detailed=()
            ) -> Iterator[dict]:
    """Time the convolution and its norm on every shape, and every step on the ``detailed`` ones,
    forward and with gradients, in bfloat16.

    The plain side gets what is best for it: channels-last maps and parameters in bfloat16, so that
    its norm writes 16 bits, too.

    Yields:
        dict: step, shape, mode, times of each side and ratios to ours; for the forward pass
        ``copy_rate`` and ``fp32_rate``, the fractions of the machine's rates, and
        ``over_floor``, the time over the larger of both floors.
    """
    compiled: dict = {}
    for shape, title in shapes.items():
        for name, step in steps().items():
            label = f'{name} {title}'
            if name != 'dwconv_norm' and shape not in detailed:
                continue
            if not budget.allows(label):
                continue
            # one compilation for all sizes of a channel count
            key = name, shape[1]
            if key not in compiled:
                compiled[key] = torch.compile(step.plain, **compile_options)
            try:
                yield from _measure_step(clock, name, shape, step, compiled[key], rates, label,
                                         report)
            except torch.cuda.OutOfMemoryError:
                budget.left_out.append(f'{label}: out of memory')
                torch.cuda.empty_cache()


def _measure_step(clock, name, shape, step, compiled, rates, label, report):
    plain = inputs_of(step, shape, clock.device, torch.bfloat16, torch.bfloat16)
    plain = plain[0], [x.bfloat16() for x in plain[1]]
    sides = dict(ours=calls(step.fused, *inputs_of(step, shape, clock.device, torch.bfloat16)),
                 eager=calls(step.plain, *plain), compiled=calls(compiled, *plain))
    for index, mode in enumerate(('forward', 'forward + backward')):
        times = clock.in_turns({side: both[index] for side, both in sides.items()})
        result = dict(step=name, shape=shape, mode=mode, times=times, ratios=ratios(times))
        extra = ''
        if mode == 'forward' and name == 'dwconv_norm':
            result.update(floor(shape, times['ours']['seconds'], rates))
            extra = (f'{result["copy_rate"]:.0%} of copy, {result["fp32_rate"]:.0%} of fp32, '
                     f'{result["over_floor"]:.2f}x floor')
        report(line(f'{label} {mode}', times, extra))
        yield result


def floor(shape, seconds, rates):
    """How near to the machine's limits a depthwise 7x7 convolution in 16 bits is.

    Its bytes are those of the map read once and written once, its operations 49 multiply-adds.
    """
    elements = shape[0] * shape[1] * shape[2] * shape[3]
    read_and_written, operations = 2 * 2 * elements, 2 * 49 * elements
    bound = max(read_and_written / rates['copy'], operations / rates['fp32'])
    return dict(copy_rate=read_and_written / seconds / rates['copy'],
                fp32_rate=operations / seconds / rates['fp32'], over_floor=seconds / bound)


# -- compile beforehand --------------------------------------------------------------------------


def compile_plans(channels):
    """Compile every plan for a number of channels, in bfloat16; Triton keeps what it compiled.

    Run in a process of its own for each number, it saves the measuring process the waiting.
    """
    from convnext_dense.acceleration.triton import activation, depthwise, norm, plans
    from convnext_dense.acceleration.triton import residual as sums
    device = torch.device('cuda')
    x = torch.zeros(1, channels, 4, 4, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    last, vector = x.permute(0, 2, 3, 1), torch.ones(channels, device=device)
    taps = depthwise.taps_of(torch.ones(channels, 1, 7, 7, device=device), x)
    for plan in plans.dwconv_norm(channels):
        if plan.how == 'fused':
            for keep in (True, False):
                depthwise.convolve(x, taps, vector, plan.tile, (vector, vector), EPS, keep)
    for plan in plans.convolution(channels)[:-1]:
        for bias in (vector, None):
            depthwise.convolve(x, taps, bias, plan.tile)
    for plan in plans.weight_gradient(channels)[:-1]:
        depthwise.weight_gradient(x, last, plan.tile)
    for plan in plans.norm(channels, channels_last=True):
        y, mean, rstd = norm.normalise(x, vector, vector, EPS, plan.tile)
        norm.gradient(y, x, mean, rstd, vector, plan.tile)
    wide, long = torch.cat([last] * 4, -1), torch.ones(4 * channels, device=device)
    for plan in plans.elementwise(4 * channels):
        _, norms = activation.gelu_grn(wide, long, long, EPS, plan.tile)
        activation.gelu_gradient(wide, wide, plan.tile)
        activation.gelu_grn_gradient(wide, wide, norms, long, long, EPS, plan.tile)
    for plan in plans.elementwise(channels):
        for factor in (vector[:1], None):
            sums.add(last, last, vector, factor, plan.tile)
            sums.gradient(last, last, vector, factor, plan.tile)
    torch.cuda.synchronize()
