"""The fused operators, under Triton's interpreter, against plain torch."""
import pytest
import torch
import torch.nn.functional as F

from convnext_dense.acceleration.triton import operators, plans
from convnext_dense.acceleration.triton.tiles import Tile
from convnext_dense.models.layers import GRN

EPS = 1e-6
ROWS = plans.ROWS  # before the fixture that lowers it for the interpreter


def dwconv_norm(x, weight, bias, norm_weight, norm_bias, eps):
    x = F.conv2d(x, weight, bias, padding=3, groups=x.shape[1]).permute(0, 2, 3, 1)
    return F.layer_norm(x, x.shape[3:], norm_weight, norm_bias, eps)


def layer_norm(x, weight, bias, eps):
    x = x.permute(0, 2, 3, 1)
    return F.layer_norm(x, x.shape[3:], weight, bias, eps).permute(0, 3, 1, 2)


def activated_linear(x, weight, bias, gamma=None, beta=None, eps=0.):
    x = F.gelu(x)
    if gamma is not None:
        x = torch.addcmul(beta, gamma * GRN(x.shape[3], eps).response(x) + 1, x)
    return F.linear(x, weight.flatten(1), bias)


def scaled_residual(x, branch, gamma=None, factor=None):
    branch = branch if gamma is None else branch * gamma
    branch = branch if factor is None else branch * factor[:, None, None, None]
    return x + branch.permute(0, 3, 1, 2)


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def convolution_inputs(shape, dtype=torch.float32):
    channels = shape[1]
    return [random(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last),
            random(channels, 1, 7, 7, seed=1) * .2, random(channels, seed=2),
            random(channels, seed=3), random(channels, seed=4)]


def values_and_gradients(function, inputs, *constants):
    """What ``function`` returns, and the gradients of a fixed random combination of it."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    output = function(*leaves, *constants)
    (output * random(*output.shape, dtype=output.dtype, seed=9)).sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves)]


def assert_same(operator, reference, inputs, *constants, tolerance=1e-5):
    """Values and gradients agree, relative to the largest value of each."""
    ours = values_and_gradients(operator, inputs, *constants)
    expected = values_and_gradients(reference, inputs, *constants)
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1)


# the smallest maps, odd sizes, several tiles a row, channels below and across a block's
SHAPES = [(1, 3, 1, 1), (2, 10, 3, 6), (1, 8, 7, 2), (1, 17, 2, 35)]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_convolution_and_norm_equal_torch(shape):
    assert_same(operators.dwconv_norm, dwconv_norm, convolution_inputs(shape), EPS)


def test_convolution_with_the_tiles_of_a_gpu_equals_torch(monkeypatch):
    monkeypatch.setattr(plans, 'ROWS', ROWS)
    assert_same(operators.dwconv_norm, dwconv_norm, convolution_inputs((1, 8, 8, 3)), EPS)


def test_every_plan_of_the_convolution_gives_the_same(monkeypatch):
    inputs = convolution_inputs((1, 6, 3, 4))
    expected = values_and_gradients(dwconv_norm, inputs, EPS)
    small = [Tile(2, 8, 8, 4), Tile(3, 2, 4, 4)]
    ways = [plans.Plan('fused', small[0]), *(plans.Plan('split', tile) for tile in small),
            plans.NATIVE]
    for way in ways:
        monkeypatch.setattr(operators, 'choose', lambda step, x, ours, run, way=way: (
            ours()[0] if not step.startswith('dwconv') else
            plans.Plan('split', small[1]) if way.how == 'fused' and step != 'dwconv_norm' else way))
        for a, b in zip(values_and_gradients(operators.dwconv_norm, inputs, EPS), expected):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max().clamp(min=1)


@pytest.mark.parametrize('layout', ['channels first', 'every other column', 'cropped channels'])
def test_maps_of_any_layout_are_convolved(layout):
    x, *parameters = convolution_inputs((2, 8, 2, 6))
    x = {'channels first': lambda: x.contiguous(),
         'every other column': lambda: x[:, :, :, ::2],
         'cropped channels': lambda: x[:, 1:6]}[layout]()
    parameters = [parameter[:x.shape[1]] for parameter in parameters]
    assert_same(operators.dwconv_norm, dwconv_norm, [x, *parameters], EPS)


def test_a_convolution_without_bias_and_frozen_parameters():
    x, weight, _, scale, shift = convolution_inputs((1, 8, 2, 3))
    assert_same(lambda x, *rest: operators.dwconv_norm(x, rest[0], None, *rest[1:]),
                lambda x, *rest: dwconv_norm(x, rest[0], None, *rest[1:]),
                [x, weight, scale, shift], EPS)
    assert_same(lambda x: operators.dwconv_norm(x, weight, None, scale, shift, EPS),
                lambda x: dwconv_norm(x, weight, None, scale, shift, EPS), [x])


def test_without_gradients_nothing_is_kept(monkeypatch):
    inputs = convolution_inputs((1, 8, 2, 3))
    kept = []
    forward = operators._dwconv_norm
    monkeypatch.setattr(operators, '_dwconv_norm', lambda *args: kept.append(args[-1]) or
                        forward(*args))
    expected = operators.dwconv_norm(*(x.requires_grad_() for x in inputs), EPS)
    with torch.inference_mode():
        assert torch.equal(operators.dwconv_norm(*inputs, EPS), expected)
    assert kept == [True, False]


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', [(1, 3, 1, 1), (2, 10, 5, 6), (3, 8, 7, 1)], ids=str)
def test_layer_norm_equals_torch_and_keeps_the_layout(shape, memory_format):
    x = random(*shape).contiguous(memory_format=memory_format)
    inputs = [x, random(shape[1], seed=1), random(shape[1], seed=2)]
    assert_same(operators.layer_norm, layer_norm, inputs, EPS)
    assert operators.layer_norm(*inputs, EPS).stride() == x.stride()


def test_layer_norm_of_a_map_with_holes():
    assert_same(operators.layer_norm, layer_norm,
                [random(2, 6, 4, 8)[:, :, :, ::2], random(6, seed=1), random(6, seed=2)], EPS)


def linear_inputs(shape, grn, dtype=torch.float32):
    channels = shape[3]
    return [random(*shape, dtype=dtype), random(6, channels, dtype=dtype, seed=1),
            random(6, dtype=dtype, seed=2),
            *(random(1, 1, 1, channels, dtype=dtype, seed=seed) for seed in (3, 4)[:2 * grn])]


@pytest.mark.parametrize('grn', [True, False])
@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (2, 5, 3, 20), (1, 9, 30, 8)], ids=str)
def test_gelu_grn_and_the_linear_layer_equal_torch(shape, grn):
    assert_same(operators.activated_linear, activated_linear, linear_inputs(shape, grn),
                *([EPS] if grn else []))


def test_a_pointwise_layer_may_be_a_convolution():
    x, weight, bias = linear_inputs((1, 2, 3, 4), False)
    assert_same(operators.activated_linear, activated_linear, [x, weight[:, :, None, None], bias])


def test_a_channel_of_zeros_gets_no_gradient_from_its_norm():
    x, *parameters = linear_inputs((1, 3, 3, 4), True)
    x[..., 1] = 0
    assert_same(operators.activated_linear, activated_linear, [x, *parameters], EPS)


def test_the_activated_map_is_not_kept():
    inputs = [x.requires_grad_() for x in linear_inputs((1, 3, 3, 40), True)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        operators.activated_linear(*inputs, EPS)
    assert [x.shape for x in kept if x.ndim == 4] == [inputs[0].shape]


@pytest.mark.parametrize('gamma', [True, False])
@pytest.mark.parametrize('factor', [True, False])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_scaled_residual_equals_torch(gamma, factor, memory_format):
    x = random(3, 10, 5, 4).contiguous(memory_format=memory_format)
    inputs = [x, random(3, 5, 4, 10, seed=1), *([random(10, seed=2)] if gamma else [])]
    constants = [*([] if gamma else [None]), torch.tensor([0., 2., 2.]) if factor else None]
    assert_same(operators.scaled_residual, scaled_residual, inputs, *constants)
    assert operators.scaled_residual(*inputs).is_contiguous(memory_format=torch.channels_last)


def cases(dtype=torch.float32):
    """Name, operator and inputs of each."""
    c = 5
    maps = random(2, c, 2, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    last = random(2, 2, 3, c, dtype=dtype, seed=5)
    vectors = [random(c, seed=seed).to(dtype) for seed in (1, 2, 3)]
    weight = (random(c, 1, 7, 7, seed=4) * .2).to(dtype)
    return [
        ('dwconv_norm', operators.dwconv_norm, [maps[:1], weight, *vectors, EPS]),
        ('layer_norm', operators.layer_norm, [maps, *vectors[:2], EPS]),
        ('layer_norm', operators.layer_norm, [maps.contiguous(), *vectors[:2], EPS]),
        ('activated_linear', operators.activated_linear, linear_inputs(last.shape, False, dtype)),
        ('activated_linear', operators.activated_linear,
         [*linear_inputs(last.shape, True, dtype), EPS]),
        ('scaled_residual', operators.scaled_residual,
         [maps, last, vectors[0], torch.tensor([1.5, 0.], dtype=dtype)])]


def differentiable(name, inputs):
    """The inputs that get a gradient, and the rest: numbers, and drop path's factor."""
    count = 3 if name == 'scaled_residual' else sum(map(torch.is_tensor, inputs))
    return inputs[:count], inputs[count:]


@pytest.mark.parametrize('index', range(6))
def test_gradients_equal_differences_in_float64(index):
    _, operator, inputs = cases(torch.float64)[index]
    differentiated = 3 if operator is operators.scaled_residual else 5
    leaves = [x.requires_grad_() if position < differentiated and torch.is_tensor(x) else x
              for position, x in enumerate(inputs)]
    assert torch.autograd.gradcheck(operator, leaves, fast_mode=True)


@pytest.mark.parametrize('index', range(6))
def test_operators_are_registered_as_torch_asks(index):
    """Schema, gradients, fake tensors, and tracing with shapes that change."""
    name, _, inputs = cases()[index]
    inputs = [x.requires_grad_() if torch.is_tensor(x) and x.ndim != 1 else x for x in inputs]
    if name == 'dwconv_norm':
        inputs.append(True)
    elif name == 'activated_linear':
        inputs = [*inputs[:3], *(x.detach().flatten() for x in inputs[3:5]), EPS] \
            if len(inputs) > 3 else [*inputs, None, None, EPS]
    elif name == 'scaled_residual':
        inputs[0] = inputs[0].detach().permute(0, 2, 3, 1).requires_grad_()
    torch.library.opcheck(getattr(torch.ops.convnext_dense, name).default, inputs)


@pytest.mark.parametrize('index', range(6))
def test_compiled_operators_equal_eager_ones(index):
    name, operator, inputs = cases()[index]
    compiled = torch.compile(operator, backend='aot_eager', fullgraph=True, dynamic=False)
    tensors, rest = differentiable(name, inputs)
    for a, b in zip(values_and_gradients(compiled, tensors, *rest),
                    values_and_gradients(operator, tensors, *rest)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('index', range(6))
def test_under_autocast_maps_are_16_bit_and_parameters_float32(index, dtype):
    _, operator, inputs = cases()[index]
    expected = operator(*inputs)
    inputs = [x.requires_grad_() if torch.is_tensor(x) and position < 3 else x
              for position, x in enumerate(inputs)]
    with torch.autocast('cpu', dtype=dtype):
        output = operator(*inputs)
    assert output.dtype == dtype
    assert (output.float() - expected).norm() <= 2e-2 * expected.norm()
    output.float().sum().backward()
    for x in inputs[:3]:
        assert x.grad.dtype == torch.float32 and x.grad.isfinite().all()


@pytest.mark.parametrize('index', range(6))
def test_gradients_of_16_bit_maps_stay_near_those_in_float32(index):
    name, operator, inputs = cases()[index]
    tensors, rest = differentiable(name, inputs)
    expected = values_and_gradients(operator, tensors, *rest)
    halves = [x.bfloat16() if x.ndim == 4 and 1 not in x.shape else x for x in tensors]
    for a, b in zip(values_and_gradients(operator, halves, *rest), expected):
        assert (a.float() - b).norm() <= 3e-2 * b.norm()


def test_the_same_input_gives_the_same_bits():
    inputs = convolution_inputs((2, 10, 2, 6))
    first, second = (values_and_gradients(operators.dwconv_norm, inputs, EPS) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))
