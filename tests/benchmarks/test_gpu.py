"""The GPU benchmark's own code, tried on the CPU: its first run on a GPU must not fall over."""
import json

import pytest
import torch
from mmengine.config import Config

from benchmarks import gpu, gpu_checks, gpu_kernels, gpu_models
from benchmarks.gpu_measuring import Budget, Clock, line, machine_rates, ratios
from convnext_dense.acceleration.triton import plans


@pytest.fixture(autouse=True)
def low_tiles(monkeypatch):
    """The interpreter takes a while for each row of a tile."""
    monkeypatch.setattr(plans, 'ROWS', 2)


def test_without_a_gpu_it_says_so_in_one_line_and_exits_2(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert gpu.main([]) == 2
    message = capsys.readouterr().err
    assert message.count('\n') == 1 and 'no CUDA GPU' in message


def test_shapes_are_those_of_the_stages_each_once():
    shapes = gpu_kernels.stage_shapes('TBL', gpu_kernels.SIZES)
    assert len(shapes) == 12 * 12
    assert list(shapes.items())[:2] == [((64, 96, 56, 56), 'T1 64x224x224'),
                                        ((64, 192, 28, 28), 'T2 64x224x224')]
    assert (2, 1536, 25, 38) in shapes
    sizes = {(size, batch) for size, batch in gpu_kernels.SIZES}
    assert sizes == {(size, batch) for size in ((224, 224), (512, 512), (800, 1216))
                     for batch in (1, 2, 16, 64)}


def test_every_plan_of_every_operator_is_checked_and_a_wrong_one_found(monkeypatch):
    messages = []
    results = list(gpu_checks.check('cpu', [(2, 5, 2, 3)], [torch.float32], Budget(1e9),
                                    messages.append))
    assert {result['step'] for result in results} == set(gpu_kernels.steps())
    assert all(result['passed'] for result in results) and not messages
    taken = [plan for result in results for plan in result['plans']]
    for step, ways in dict(dwconv_norm=plans.dwconv_norm(5), dwconv_input=plans.convolution(5),
                           dwconv_weight=plans.weight_gradient(5),
                           norm=plans.norm(5, True), residual=plans.elementwise(5)).items():
        for how, tile in ways:
            assert f'{step}: {how} {tuple(tile) if tile else ""}'.rstrip() in taken
    right = gpu_kernels.steps()['residual']
    wrong = dict(residual=right._replace(plain=lambda *inputs: 2 * right.plain(*inputs)))
    monkeypatch.setattr(gpu_checks, 'steps', lambda: wrong)
    assert not any(result['passed'] for result in gpu_checks.check(
        'cpu', [(2, 5, 2, 3)], [torch.float32], Budget(1e9), messages.append))
    assert messages[-1].startswith('FAILED check residual (2, 5, 2, 3)')


def test_a_value_that_was_never_written_is_found(monkeypatch):
    right = gpu_kernels.steps()['residual']
    lazy = right._replace(fused=lambda x, *others: torch.empty_like(x) + 0 * right.fused(
        x, *others))
    monkeypatch.setattr(gpu_checks, 'steps', lambda: dict(residual=lazy))
    assert not next(gpu_checks.check('cpu', [(2, 5, 2, 3)], [torch.float32], Budget(1e9),
                                     print))['passed']


def test_a_plan_that_does_not_fit_the_gpu_is_no_success(monkeypatch):
    import triton

    def refuse(*inputs):
        raise triton.TritonError('out of resource: shared memory')
    step = gpu_kernels.steps()['residual']._replace(fused=refuse)
    monkeypatch.setattr(gpu_checks, 'steps', lambda: dict(residual=step))
    found, = gpu_checks.check('cpu', [(2, 5, 2, 3)], [torch.float32], Budget(1e9), print)
    assert found['passed'] is None and 'shared memory' in found['reason']


def test_operators_are_timed_against_eager_and_compiled_torch():
    messages, rates = [], dict(copy=1e9, fp32=1e9)
    results = list(gpu_kernels.measure(
        Clock('cpu', 1), {(1, 4, 2, 2): 'T1 tiny'}, rates, Budget(1e9), messages.append,
        dict(backend='eager'), [(1, 4, 2, 2)]))
    assert [(result['step'], result['mode']) for result in results] == [
        (name, mode) for name in gpu_kernels.steps()
        for mode in ('forward', 'forward + backward')]
    assert all(set(result['ratios']) == {'eager', 'compiled'} for result in results)
    assert 'x floor' in messages[0] and messages[0].startswith('dwconv_norm T1 tiny forward')
    json.dumps(results)


def test_the_floor_is_the_larger_of_memory_and_arithmetic():
    shape = (1, 10, 10, 10)  # 4000 bytes and 98000 operations
    found = gpu_kernels.floor(shape, 2., dict(copy=4000., fp32=49000.))
    assert found == dict(copy_rate=.5, fp32_rate=1., over_floor=1.)
    assert gpu_kernels.floor(shape, 2., dict(copy=2000., fp32=1e9))['over_floor'] == 1.


def test_a_spent_budget_leaves_out_what_is_left():
    budget = Budget(0)
    part = budget.section(.5)
    assert not part.allows('a') and not budget.allows('b') and budget.left_out == ['a', 'b']
    assert not [*gpu_kernels.measure(Clock('cpu', 1), {(1, 4, 2, 2): 'x'}, {}, budget, print, {})]
    assert len(budget.left_out) == 3
    assert not [*gpu_models.measure_backbones(None, gpu_models.BACKBONES, budget, print, {})]
    assert not [*gpu_models.measure_models(None, gpu_models.MODELS, budget, print)]
    assert Budget(100).section(.25).left() == pytest.approx(25, abs=1)


def test_sides_are_timed_in_turns():
    calls = []
    times = Clock('cpu', 3).in_turns(dict(ours=lambda: calls.append('a'),
                                          other=lambda: calls.append('b')), warm_ups=1)
    assert ''.join(calls) == 'ab' + 'ababab'
    assert times['ours']['p10'] <= times['ours']['seconds'] <= times['ours']['p90']


def test_ratios_and_lines_are_relative_to_ours():
    times = dict(ours=dict(seconds=.002, p10=.001, p90=.003),
                 eager=dict(seconds=.005, p10=.005, p90=.005))
    assert ratios(times) == {'eager': 2.5}
    assert line('x', times, '50% of copy').split() == [
        'x', '2.000', 'ms', '(1.000-3.000)', '2.50x', 'eager', '50%', 'of', 'copy']


def test_the_machine_is_its_own_yardstick():
    assert set(machine_rates(Clock('cpu', 2), 16)) == {'copy', 'bf16', 'fp32'}


def test_stock_models_have_openmmlabs_parts():
    cfg = Config(dict(model=dict(
        backbone=dict(type='convnext_dense.ConvNeXt', arch='tiny', init_cfg=dict(type='x')),
        roi_head=dict(bbox_roi_extractor=dict(type='convnext_dense.SingleRoIExtractor')))))
    found = gpu_models.stock(cfg).model
    assert found.backbone == dict(type='mmpretrain.ConvNeXt', arch='tiny', init_cfg=None,
                                  out_indices=[0, 1, 2, 3], gap_before_final_norm=False)
    assert found.roi_head.bbox_roi_extractor.type == 'SingleRoIExtractor'
    assert cfg.model.backbone.type == 'convnext_dense.ConvNeXt'


@pytest.mark.parametrize('version', gpu_models.VERSIONS)
def test_all_backbones_give_maps_of_the_same_shapes(version):
    pytest.importorskip('timm')
    arch = dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))
    shapes = set()
    for name, build in gpu_models.backbone_sides(version, arch, {}).items():
        if 'timm' not in name:
            shapes.add(tuple(x.shape for x in build()[0](torch.randn(1, 3, 32, 32))))
    assert len(shapes) == 1


def test_named_configs_exist():
    from pathlib import Path
    for path, _, _ in gpu_models.MODELS.values():
        assert (Path(__file__).parents[2] / 'configs' / path).is_file()


@pytest.mark.slow
def test_the_whole_run_in_tiny(tmp_path):
    """Checks, kernels, backbones and a segmenter, written as JSON; about 3 minutes."""
    import subprocess
    import sys
    out = tmp_path / 'gpu.jsonl'
    subprocess.run([sys.executable, '-m', 'benchmarks.gpu', '--smoke', '--out', str(out)],
                   check=True)
    facts = [json.loads(line) for line in out.read_text().splitlines()]
    assert {fact['part'] for fact in facts} == {'machine', 'rates', *gpu.PARTS, 'left_out'}
