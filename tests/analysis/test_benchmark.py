"""Times by stage, memory and the command, on models of a few channels."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from convnext_dense.analysis.benchmark import Candidate, benchmark, render
from convnext_dense.analysis.machine import describe_machine
from convnext_dense.analysis.stages import INFERENCE_STAGES, TRAINING_STAGES, StageTimer
from convnext_dense.cli import main

CONVNEXT = dict(type='convnext_dense.ConvNeXt', arch=dict(depths=[1, 1, 1, 1],
                                                          channels=[8, 16, 24, 32]))
DEMO = Path(__file__).parents[2] / 'configs' / 'demo'
NORM = dict(type='BN', requires_grad=True)
CLASSES = 3


def segmenter_config():
    return Config(dict(default_scope='mmseg', crop_size=(64, 64), model=dict(
        type='EncoderDecoder', backbone=CONVNEXT,
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
        decode_head=dict(type='UPerHead', in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3],
                         pool_scales=(1, 2), channels=8, num_classes=CLASSES, norm_cfg=NORM),
        train_cfg=dict(), test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(48, 48)))))


def detector_config():
    base = Config.fromfile(DEMO / 'cascade-mask-rcnn_convnext_shapes.py')
    base.model.backbone = CONVNEXT
    base.model.neck.in_channels = [8, 16, 24, 32]
    return Config(dict(default_scope='mmdet', model=base.model))


@pytest.fixture(scope='module', params=['segmenter', 'detector'])
def results(request):
    """Inference and training of one model; the median of nine rounds, as others use the machine."""
    cfg = segmenter_config() if request.param == 'segmenter' else detector_config()
    return {mode: benchmark([Candidate(request.param, cfg.copy(), (64, 96), batch=2,
                                       training=mode == 'training')], rounds=9, warmup=1)[0]
            for mode in ('inference', 'training')}


def test_every_stage_is_measured(results):
    inference, training = results['inference']['stages_ms'], results['training']['stages_ms']
    assert tuple(inference) == INFERENCE_STAGES and tuple(training) == TRAINING_STAGES
    for stages in (inference, training):
        for name, milliseconds in stages.items():
            if name != 'neck' or results['inference']['name'] == 'detector':
                assert milliseconds > 0, name


def test_stages_add_up_to_the_whole_within_five_percent(results):
    for result in results.values():
        assert result['stages_over_whole'] == pytest.approx(1, abs=.05)


def test_speed_and_latency_are_of_the_same_steps(results):
    result = results['inference']
    assert result['images_per_s']['median'] == pytest.approx(2e3 / result['latency_ms']['p50'])
    assert result['latency_ms']['p50'] <= result['latency_ms']['p90'] <= result['latency_ms']['p99']
    assert result['images_per_s']['p10'] <= result['images_per_s']['median']


def test_training_takes_more_memory_than_inference(results):
    assert results['training']['peak_memory_MiB'] > results['inference']['peak_memory_MiB']


def test_memory_counts_the_weights_and_the_largest_tensors():
    cfg = segmenter_config()
    small = Candidate('a', cfg.copy(), (64, 64))
    large = Candidate('b', cfg.copy(), (128, 128))
    for candidate in (small, large):
        candidate.step()
        candidate.measure_memory()
    weights = sum(p.numel() * 4 for p in small.model.parameters())
    assert small.peak_memory > weights
    # the larger image and its logits alone
    assert large.peak_memory - small.peak_memory > (128**2 - 64**2) * 4 * (3 + CLASSES)
    again = Candidate('a', cfg.copy(), (64, 64))
    again.step()
    again.measure_memory()
    assert again.peak_memory == pytest.approx(small.peak_memory, rel=.02)


def test_models_run_in_turns():
    order = []

    class Recorder:
        def __init__(self, name):
            self.name = name

        def step(self):
            pass

        measure_memory = results = step

        def measure_round(self):
            order.append(self.name)

    benchmark([Recorder('a'), Recorder('b'), Recorder('c')], rounds=3, warmup=0)
    assert ''.join(order) == 'abcbcacab'


def test_nested_stages_do_not_count_twice(monkeypatch):
    timer = StageTimer()
    clock = iter([0, 20, 60, 75])
    monkeypatch.setattr(timer, 'now', lambda: next(clock))
    with timer.stage('heads'):
        with timer.stage('post-processing'):
            pass
    assert timer.seconds == {'heads': 20 + 15, 'post-processing': 40}


def test_measuring_leaves_the_model_as_it_was():
    candidate = Candidate('a', segmenter_config(), (64, 64))
    before = {name: set(vars(module)) for name, module in candidate.model.named_modules()}
    candidate.measure_round()
    assert before == {name: set(vars(module)) for name, module in candidate.model.named_modules()}
    assert not candidate.model.backbone._forward_hooks


def test_random_detectors_have_detections():
    candidate = Candidate('a', detector_config(), (64, 96))
    (sample, ) = candidate.step()
    assert len(sample.pred_instances.bboxes) > 10


@pytest.mark.parametrize('options', [{}, dict(precision='bf16'), dict(acceleration=False)])
def test_options_of_precision_and_memory_format(options):
    candidate = Candidate('a', segmenter_config(), (64, 64), **options)
    stem = candidate.model.backbone.downsample_layers[0][0]
    seen = []
    stem.register_forward_hook(lambda _, inputs, output: seen.append((
        output.is_contiguous(memory_format=torch.channels_last), output.dtype)))
    candidate.step()
    assert seen[0] == ('acceleration' not in options,
                       torch.bfloat16 if 'precision' in options else torch.float32)
    assert stem.weight.dtype == torch.float32


@pytest.mark.slow
def test_compiled_parts_give_the_same_prediction():
    plain = Candidate('a', segmenter_config(), (64, 64))
    compiled = Candidate('a', segmenter_config(), (64, 64), acceleration=dict(compile=True))
    (expected, ), (sample, ) = plain.step(), compiled.step()
    torch.testing.assert_close(sample.seg_logits.data, expected.seg_logits.data)
    compiled.measure_round()
    assert compiled.stages[0]['backbone'] > 0


def test_a_batch_that_batch_norm_cannot_train_on_is_an_input_error(capsys, tmp_path):
    path = tmp_path / 'tiny.py'
    segmenter_config().dump(path)
    assert main(['benchmark', str(path), '--mode', 'training', '--size', '64x64']) == 2
    assert 'give a larger --batch' in capsys.readouterr().err


def test_command_writes_table_and_json(tmp_path, capsys):
    path = tmp_path / 'tiny.py'
    segmenter_config().dump(path)
    out = tmp_path / 'out.json'
    assert main(['benchmark', str(path), '--size', '96x64', '--rounds', '2', '--warmup', '1',
                 '--device', 'cpu', '--out', str(out)]) == 0
    assert '| tiny | inference |' in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report['machine']['cpu'] and report['machine']['packages']['torch']
    assert report['options']['size'] == '96x64'
    assert report['models'][0]['rounds'] == 2
    assert render(report['models']).count('\n') == 2


@pytest.mark.parametrize('arguments, message', [
    (['--rounds', '0'], 'give a number from 1 on'),
    (['--weights', 'a.pth', 'b.pth'], 'give one a config'),
    (['--dataset', '--size', '64x64'], 'leave out --size'),
    (['--size', '64'], 'WIDTHxHEIGHT')])
def test_wrong_options_are_input_errors(arguments, message, capsys):
    assert main(['benchmark', str(DEMO / 'upernet_convnext_shapes.py'), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_machine_names_what_matters():
    machine = describe_machine()
    assert machine['cores'] >= 1 and machine['threads'] >= 1
    assert machine['device'] == 'cpu' and 'gpu' not in machine


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_memory_is_that_of_the_allocator():
    candidate = Candidate('a', segmenter_config(), (64, 64), device='cuda')
    candidate.step()
    candidate.measure_memory()
    assert candidate.peak_memory > sum(p.numel() * 4 for p in candidate.model.parameters())
