"""What torch calls its own and the toolkit relies on: after an upgrade each is still there."""
import inspect
import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.private import torch as private


def relied_on(holder, name, what):
    assert hasattr(holder, name), (
        f'torch {torch.__version__} has no {name} any more: {what} in '
        'convnext_dense/private/torch.py needs another way')


@pytest.mark.parametrize('name', ['_forward_hooks', '_forward_pre_hooks', '_backward_hooks',
                                  '_backward_pre_hooks'])
def test_modules_show_their_hooks(name):
    relied_on(nn.Module(), name, 'has_hooks')


@pytest.mark.parametrize('register', [
    'register_forward_hook', 'register_forward_pre_hook', 'register_full_backward_hook',
    'register_full_backward_pre_hook'])
def test_every_kind_of_hook_is_seen(register):
    layer = nn.Linear(1, 1)
    assert not private.has_hooks(layer)
    handle = getattr(layer, register)(lambda *_: None)
    assert private.has_hooks(layer)
    handle.remove()
    assert not private.has_hooks(layer)


def test_a_convolution_computes_in_one_method():
    relied_on(nn.Conv2d, '_conv_forward', 'convolve_as')
    assert list(inspect.signature(nn.Conv2d._conv_forward).parameters) == [
        'self', 'input', 'weight', 'bias']
    conv, x = nn.Conv2d(2, 3, 3, padding=1), torch.randn(1, 2, 5, 5)
    assert torch.equal(private.convolve_as(conv, x, conv.weight, conv.bias), conv(x))


def test_onednn_has_its_linear_layers():
    operator = private.linear_operator()
    if not torch.backends.mkldnn.is_available():
        assert operator is None
        return
    relied_on(torch.ops.mkldnn, '_linear_pointwise', 'linear_operator')
    x, weight, bias = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    torch.testing.assert_close(operator.default(x, weight, bias, 'none', [], ''),
                               nn.functional.linear(x, weight, bias))


def test_norms_of_many_tensors():
    relied_on(torch, '_foreach_norm', 'norms')
    assert [float(norm) for norm in private.norms([torch.ones(4), torch.zeros(2)])] == [2., 0.]


def test_data_workers_can_be_ended():
    loader = DataLoader(range(4), num_workers=1, persistent_workers=True)
    iterator = iter(loader)
    relied_on(iterator, '_shutdown_workers', 'shut_down_workers')
    relied_on(loader, '_iterator', 'shut_down_workers')
    private.shut_down_workers(loader, iterator)
    assert not multiprocessing.active_children()
    assert [int(x) for x in loader] == [0, 1, 2, 3]
    private.shut_down_workers(loader, loader._iterator)
    plain = DataLoader(range(2))
    private.shut_down_workers(plain, iter(plain))


def test_the_compiler_takes_its_settings_and_names_its_errors():
    import torch._dynamo
    relied_on(torch._dynamo, 'maybe_mark_dynamic', 'mark_dynamic')
    with private.compiling_for_any_size():
        pass
    assert not private.is_compiler_error(RuntimeError())


def test_programs_are_compiled_ahead_of_time():
    import torch._inductor
    relied_on(torch._inductor, 'aoti_compile_and_package', 'compile_package')
    relied_on(torch._inductor, 'aoti_load_package', 'load_package')


def test_all_convolutions_have_one_base():
    relied_on(nn.modules.conv, '_ConvNd', 'the base that acceleration/bfloat16.py and '
              'analysis/complexity.py look for, named')
    assert all(issubclass(kind, nn.modules.conv._ConvNd)
               for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))
