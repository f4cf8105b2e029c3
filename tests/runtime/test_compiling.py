"""Compiled models: values, no compilation for each image size, testing, and the way back."""
import copy
from unittest import mock

import pytest
import torch
from tiny import tiny_backbone, toy_config

from convnext_dense.acceleration import compiling
from convnext_dense.acceleration.compiling import compile_options, compile_parts
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

SIZES = [(64, 64), (64, 96), (128, 96), (80, 72)]


class Counting:
    """A backend that runs the graphs as they are and counts them."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


@pytest.fixture(autouse=True)
def forget():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def segmenter():
    import mmseg.models  # noqa: F401
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = dict(channels=8, num_classes=5, norm_cfg=dict(type='BN'), dropout_ratio=0.)
    return MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(tiny_backbone(), drop_path_rate=0.),
        decode_head=dict(type='UPerHead', in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3],
                         align_corners=False, **head),
        auxiliary_head=dict(type='FCNHead', in_channels=24, in_index=2, num_convs=1,
                            concat_input=False, **head),
        train_cfg=dict(), test_cfg=dict(mode='whole')))


def detector_parts():
    """Backbone and FPN, which a detector has beside heads that stay eager."""
    import mmdet.models  # noqa: F401
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = torch.nn.Module()
    model.backbone = MODELS.build(dict(tiny_backbone(), drop_path_rate=0.))
    model.neck = MODELS.build(dict(type='FPN', in_channels=[8, 16, 24, 32], out_channels=8,
                                   num_outs=5))
    model.forward = lambda x: model.neck(model.backbone(x))
    return model


@pytest.mark.parametrize('build, training', [
    (detector_parts, False), (detector_parts, True),
    *(pytest.param(segmenter, training, marks=pytest.mark.slow) for training in (False, True))])
def test_another_image_size_needs_no_other_compilation(build, training):
    model, backend = build().train(training), Counting()
    eager = copy.deepcopy(model)
    if build is detector_parts:
        eager = build().train(training)
    parts = compile_parts(model, backend=backend)
    assert parts == (['backbone', 'decode_head', 'auxiliary_head'] if build is segmenter else
                     ['backbone', 'neck'])
    counts = []
    with torch.set_grad_enabled(training):
        for height, width in SIZES:
            x = torch.randn(2, 3, height, width)
            found, expected = model(x), eager(x)
            for a, b in zip(*([y] if torch.is_tensor(y) else y for y in (found, expected))):
                assert torch.allclose(a, b, atol=1e-5)
            counts.append(backend.graphs)
    assert counts[0] >= 2 and counts[-1] == counts[0]


def test_a_failing_compiler_leaves_the_model_eager_and_says_why_once():
    def broken(graph, inputs):
        raise OSError('no C++ compiler here\nand more lines')

    model, x = detector_parts().eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        compile_parts(model, backend=broken)
        with mock.patch.object(compiling, 'print_log') as log:
            for _ in range(2):
                assert all(map(torch.equal, model(x), expected))
    assert [call.args[0] for call in log.call_args_list] == [
        f'{part} runs eagerly, it could not be compiled: OSError: no C++ compiler here'
        for part in ('backbone', 'neck')]


def test_errors_of_the_model_itself_are_not_taken_for_the_compilers():
    model = detector_parts()
    compile_parts(model, backend=Counting())
    with pytest.raises(Exception, match='expected input.* to have 3 channels'):
        model(torch.randn(1, 4, 64, 64))


def test_a_copy_is_eager_and_has_weights_of_its_own():
    model = detector_parts().eval()
    compile_parts(model, backend=Counting())
    twin = copy.deepcopy(model.backbone)
    with torch.no_grad():
        twin.norm0.weight.zero_()
        twin.norm0.bias.zero_()
        x = torch.randn(1, 3, 64, 64)
        assert not twin(x)[0].any() and model.backbone(x)[0].any()
    assert not isinstance(twin.forward, compiling.CompiledForward)
    assert twin.state_dict().keys() == model.backbone.state_dict().keys()


def test_the_settings_that_a_config_may_give():
    assert compile_options(None) is None and compile_options(False) is None
    assert compile_options(True) == dict(dynamic=True)
    assert compile_options(dict(dynamic=None, mode='default')) == dict(
        dynamic=None, mode='default')
    for wrong in ('yes', dict(speed=2), dict(mode='fastest')):
        with pytest.raises(InputError, match='^compile='):
            compile_options(wrong)


def test_the_runner_compiles_parts_for_training_and_testing_alike(tmp_path):
    backend = Counting()
    torch._dynamo.register_backend(backend, name='counting')  # a config holds names
    with mock.patch.object(compiling, 'PARTS', ('conv', 'missing')):
        runner = Runner.from_cfg(toy_config(tmp_path, epochs=1, compile=dict(backend='counting')))
        runner.train()
    assert isinstance(runner.model.conv.forward, compiling.CompiledForward)
    assert backend.graphs == 1
    with torch.no_grad():
        runner.model.eval()(torch.rand(2, 3, 8, 8), mode='predict')
    assert backend.graphs == 2


def compiled_by_inductor(build, sizes, training):
    """Compare a compiled model with the eager one; graphs compiled after each size."""
    from torch._inductor.utils import fresh_inductor_cache
    eager, model = (build().train(training).to(memory_format=torch.channels_last)
                    for _ in range(2))
    compile_parts(model)
    counts = []
    with fresh_inductor_cache(), torch.set_grad_enabled(training):
        for height, width in sizes:
            x = torch.randn(2, 3, height, width).to(memory_format=torch.channels_last)
            found, expected = ([y] if torch.is_tensor(y) else y for y in (model(x), eager(x)))
            assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(found, expected))
            if training:
                for outputs in (found, expected):
                    sum(y.square().mean() for y in outputs).backward()
            counts.append(torch._dynamo.utils.counters['stats']['unique_graphs'])
    parts = [getattr(model, name) for name in compiling.PARTS if hasattr(model, name)]
    assert all(part.forward.compiled is not None for part in parts)
    for one, other in zip(model.parameters(), eager.parameters()):
        if one.grad is not None:
            assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    return counts


@pytest.mark.slow
def test_inductor_itself_compiles_backbone_and_neck_once_for_all_sizes():
    """The same with torch's own compiler, for testing: 2 minutes on 2 cores."""
    counts = compiled_by_inductor(
        detector_parts, [(128, 160), (128, 192), (192, 160), (160, 224)], training=False)
    assert counts[-1] == counts[0]


@pytest.mark.slow
@pytest.mark.parametrize('build', [segmenter, detector_parts])
def test_inductor_gives_the_gradients_of_the_eager_model(build):
    """For images of one size; 3 minutes each on 2 cores."""
    counts = compiled_by_inductor(build, [(64, 96), (64, 96)], training=True)
    assert counts[-1] == counts[0]
