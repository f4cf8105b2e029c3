"""`explain`: what a config resolves to, on one screen."""
import json
import re

import pytest

from convnext_dense.analysis.config_sheet import config_sheet
from convnext_dense.analysis.training_memory import estimate_training_memory, training_size
from convnext_dense.cli import main
from convnext_dense.config import load_config
from convnext_dense.config_files import find_config
from convnext_dense.planning.config_text import config_text
from convnext_dense.planning.facts import DataFacts, Machine
from convnext_dense.planning.policy import make_plan

DATA = DataFacts('masks', train=14, val=4, test=0, classes=2, objects=165, width=640, height=480,
                 small=90.)
LAYER_WISE = 'cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco'


@pytest.fixture
def project(tmp_path):
    """A config as `new` writes it, and its annotations."""
    folder = tmp_path / 'data/annotations'
    folder.mkdir(parents=True)
    (folder / 'train.json').write_text(json.dumps(dict(images=[{}] * 14)))
    path = tmp_path / 'config.py'
    path.write_text(config_text(make_plan(DATA, Machine(2)), DATA, ('pear', 'plum')))
    return path


def test_the_sheet_says_what_is_trained_on_what_and_how(project, capsys):
    assert main(['explain', str(project), '--device', 'cpu']) == 0
    text = capsys.readouterr().out
    topics = [line.split()[0] for line in text.splitlines() if not line.startswith(' ')]
    assert topics == ['model', 'data', 'augmentation', 'schedule', 'learning', 'batch', 'memory']
    assert len(text.splitlines()) < 40
    for line in ('MaskRCNN on ConvNeXt atto', 'starts from nothing', '2 classes: pear, plum',
                 'train.json: 14 images', 'val.json (not there)', 'RandomFlip prob 0.5',
                 'passes over 14 images', 'up to 0.002 in the first 10%', '4 images a step'):
        assert line in text, line
    whole = re.search(r'whole +([0-9.]+) M parameters', text)
    assert 4 < float(whole[1]) < 6
    assert re.search(r'about 0\.\d\d GiB for a training step of 4 images of 400x\d+ in float32',
                     text), text


def test_json_has_the_same_topics(project, capsys):
    assert main(['explain', str(project), '--device', 'cpu', '--json', '--cfg-options',
                 'train_dataloader.batch_size=2']) == 0
    sheet = json.loads(capsys.readouterr().out)
    assert sheet['batch'] == ['2 images a step and process; the learning rate is for 4 in all '
                              '(--auto-scale-lr)']
    assert set(sheet) == {'model', 'data', 'augmentation', 'schedule', 'learning rates', 'batch',
                          'memory'}


def test_frozen_parts_have_no_rate_and_take_less_memory(project):
    cfg, frozen = (load_config(project, options) for options in (None, dict(freeze=['backbone'])))
    assert 'backbone' in config_sheet(cfg)['learning rates'][0]
    assert 'backbone' not in config_sheet(frozen)['learning rates'][0]
    whole, rest = (estimate_training_memory(one, (320, 400), 2) for one in (cfg, frozen))
    assert rest.state < .6 * whole.state and rest.kept < whole.kept


@pytest.mark.parametrize('name', ['mask2former_convnextv2-atto_camvid',
                                  'dino_convnextv2-atto_pennfudan'])
def test_of_models_whose_parts_are_not_known_the_rest_is_said(name, capsys):
    assert main(['explain', name, '--device', 'cpu']) == 0
    text = capsys.readouterr().out
    assert 'not estimated' in text and 'M parameters' in text and 'schedule' in text


def test_mixed_precision_counts_on_a_cpu_that_trains_with_it(monkeypatch):
    from convnext_dense.config import load_config, set_device
    found = []
    for gain in (1., 8.):
        monkeypatch.setattr('convnext_dense.bfloat16_gain.bfloat16_gain', lambda gain=gain: gain)
        cfg = load_config(LAYER_WISE)
        set_device(cfg, 'cpu')
        found.append(config_sheet(cfg)['memory'])
    assert 'in float32' in str(found[0]) and 'in mixed precision' in str(found[1])


def test_layer_wise_rates_are_listed_from_the_heads_to_the_stem(capsys):
    assert main(['explain', LAYER_WISE, '--json', '--device', 'cpu']) == 0
    rates = json.loads(capsys.readouterr().out)['learning rates']
    values = [float(line.split()[0]) for line in rates]
    assert values == sorted(values, reverse=True) and len(values) == 8
    assert values[0] == 2e-4 and 'neck, rpn_head, roi_head' in rates[0]
    assert values[1] == pytest.approx(2e-4 * .7, rel=1e-2)
    assert 'backbone.downsample_layers.0' in rates[-1]


def test_a_config_that_is_not_there_is_one_line(capsys):
    assert main(['explain', 'gone.py']) == 2
    assert capsys.readouterr().err.startswith('error: config gone.py')


@pytest.mark.parametrize('pipeline, size', [
    ([dict(type='Resize', scale=(1333, 800))], (800, 1333)),
    ([dict(type='RandomResize', scale=(320, 240), ratio_range=(.75, 1.5))], (360, 480)),
    ([dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)])], (800, 1333)),
    ([dict(type='RandomResize', scale=(2048, 512), ratio_range=(.5, 2.)),
      dict(type='RandomCrop', crop_size=(512, 512))], (512, 512)),
    ([dict(type='RandomChoice', transforms=[
        [dict(type='Resize', scale=(640, 640))], [dict(type='Resize', scale=(64, 64))]])],
     (640, 640)),
    ([dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=.5)], None)])
def test_the_size_of_training_images_is_read_from_the_pipeline(pipeline, size):
    assert training_size(pipeline) == size


@pytest.mark.parametrize('name', ['mask-rcnn_convnextv2-atto', 'upernet_convnextv2-atto'])
def test_the_estimate_of_memory_is_near_what_a_step_takes(name):
    from convnext_dense.analysis.benchmark import Candidate
    cfg = load_config(find_config(name), {'model.data_preprocessor.size': (128, 160)}
                      if 'upernet' in name else None)
    cfg.acceleration = False
    estimate = estimate_training_memory(cfg, (128, 160), 4)
    candidate = Candidate(name, cfg, (128, 160), 4, 'cpu', training=True)
    candidate.step()
    candidate.measure_memory()
    assert .7 < estimate.total / candidate.peak_memory < 1.1
