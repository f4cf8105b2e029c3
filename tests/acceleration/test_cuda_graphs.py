"""Which inputs get a CUDA graph; the capture itself, which needs a GPU, is benchmarks.gpu's."""
import pytest
import torch
from torch import nn

from convnext_dense.acceleration import Acceleration, cuda_graphs, prepare
from convnext_dense.acceleration.cuda_graphs import Graphed, use_cuda_graphs


class Double(nn.Module):
    def forward(self, x):
        return 2 * x, x.sum()


@pytest.fixture
def graphed(monkeypatch):
    """A module on a pretended GPU, and the sizes that were captured."""
    captured = []

    def capture(forward, x):
        captured.append(tuple(x.shape))
        return forward

    monkeypatch.setattr(Graphed, '_fits', lambda self, x: not self.module.training)
    return Graphed(Double().eval(), most=2, capture=capture), captured


def test_each_size_and_type_is_captured_once_up_to_a_limit(graphed):
    run, captured = graphed
    for size in (3, 4, 3, 5, 4):
        x = torch.randn(size)
        assert torch.equal(run(x)[0], 2 * x)
    assert captured == [(3, ), (4, )]


def test_autocast_has_graphs_of_its_own(graphed):
    run, captured = graphed
    run(torch.randn(3))
    with torch.autocast('cpu', torch.bfloat16):
        run(torch.randn(3))
    assert captured == [(3, ), (3, )]


def test_inference_mode_has_graphs_of_its_own(graphed):
    """What was captured there could not be written to elsewhere."""
    run, captured = graphed
    for context in (torch.inference_mode, torch.no_grad, torch.inference_mode):
        with context():
            run(torch.randn(3))
    assert captured == [(3, ), (3, )]


def test_training_runs_the_module(graphed):
    run, captured = graphed
    run.module.train()
    run(torch.randn(3))
    assert captured == []


def test_on_a_cpu_the_module_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(cuda_graphs, 'capture_graph', pytest.fail)
    module = use_cuda_graphs(Double().eval())
    x = torch.randn(3)
    with torch.inference_mode():
        assert torch.equal(module(x)[0], 2 * x)


def test_the_setting_reaches_the_backbone():
    model = nn.Module()
    model.backbone = Double()
    prepare(model, settings=Acceleration(cuda_graphs=2))
    assert isinstance(model.backbone.forward, Graphed) and model.backbone.forward.most == 2
