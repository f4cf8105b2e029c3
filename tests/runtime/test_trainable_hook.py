"""Frozen parts and adapters in a run: with layer decay, averages, resume and prepared models."""
import copy
import uuid
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook
from tiny import segmenter_config, toy_config

from convnext_dense.checkpoints import load_weights, read_checkpoint
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

SETTINGS = dict(
    frozen=dict(freeze=['backbone', 'decode_head.lateral_convs']),
    lora=dict(lora=dict(rank=2, dropout=.1)),
    both=dict(lora=dict(rank=2), freeze=['decode_head', 'auxiliary_head']))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(folder, train=4, val=2, size=64)
    return folder


def config(data, work_dir, **settings):
    result = segmenter_config(data, work_dir, workers=0, iters=4)
    result.train_cfg.val_interval = 2
    result.model.backbone.norm_cfg = dict(type='BN')
    result.default_hooks.checkpoint.max_keep_ckpts = -1
    result.optim_wrapper.pop('paramwise_cfg', None)
    result.optim_wrapper.update(
        constructor='convnext_dense.LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_type='stage_wise', decay_rate=.9))
    result.experiment_name = f'run_{uuid.uuid4().hex}'  # mmengine keeps its loggers by this name
    result.merge_from_dict(settings)
    return result


class Note(Hook):
    """Keeps the weights that training starts from, and which modules are in training mode."""

    priority = 'LOWEST'

    def __init__(self):
        self.start, self.training = {}, set()

    def before_train(self, runner):
        self.start = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.training = {name for name, module in runner.model.named_modules() if module.training}


def train(data, work_dir, **settings):
    """Train; returns the runner, the note and the lines of the log."""
    runner, note = Runner.from_cfg(config(data, work_dir, **settings)), Note()
    runner.register_hook(note)
    with mock.patch.object(runner.logger, 'info') as info:
        runner.train()
    return runner, note, [call.args[0] for call in info.call_args_list]


@pytest.fixture(scope='module', params=SETTINGS)
def trained(request, data, tmp_path_factory):
    if 'lora' in SETTINGS[request.param]:
        pytest.importorskip('peft')
    work_dir = tmp_path_factory.mktemp('run')
    return request.param, work_dir, *train(data, work_dir, **copy.deepcopy(
        SETTINGS[request.param]))


def may_change(name, key):
    """Whether a tensor may be another after training."""
    if '.lora_' in key:
        return True
    if key.startswith('backbone.'):
        return False
    part = '.'.join(key.split('.')[:2])
    return not any(frozen in (part, key.split('.')[0]) for frozen in SETTINGS[name].get(
        'freeze', ()))


def test_frozen_tensors_stay_and_their_norms_do_not_count(trained):
    name, _, runner, note, lines = trained
    changed = set()
    for key, value in runner.model.state_dict().items():
        if torch.equal(value, note.start[key]):
            continue
        assert may_change(name, key), key
        changed.add(key.split('.')[0] + ('.lora' if '.lora_' in key else ''))
    assert changed == dict(frozen={'decode_head', 'auxiliary_head'},
                           lora={'backbone.lora', 'decode_head', 'auxiliary_head'},
                           both={'backbone.lora'})[name]
    assert any(line.startswith('trained: ') and '; frozen: ' in line for line in lines)


def test_frozen_parts_are_in_evaluation_mode_after_a_validation_too(trained):
    name, _, runner, note, _ = trained
    norms = {key for key, module in runner.model.named_modules()
             if isinstance(module, torch.nn.BatchNorm2d)}
    frozen = {key for key in norms if key.startswith('backbone.')} | {
        key for key in norms for part in SETTINGS[name].get('freeze', ()) if key.startswith(part)}
    assert norms & note.training == norms - frozen
    if name == 'frozen':
        assert not any(key.startswith('backbone') for key in note.training)


def test_the_optimizer_has_what_trains_and_no_more(trained):
    name, _, runner, _, _ = trained
    groups = runner.optim_wrapper.optimizer.param_groups
    held = {id(parameter) for group in groups for parameter in group['params']}
    assert held == {id(parameter) for parameter in runner.model.parameters()
                    if parameter.requires_grad}
    if name != 'frozen':  # layer decay reaches the adapters
        assert len({group['lr_scale'] for group in groups}) > 2


def test_a_resumed_run_is_the_uninterrupted_one(trained, data, tmp_path):
    name, work_dir, runner, _, _ = trained
    settings = dict(copy.deepcopy(SETTINGS[name]), resume=True,
                    load_from=str(work_dir / 'iter_2.pth'))
    again, _, lines = train(data, tmp_path, **settings)
    assert again.resumed_from
    expected, ours = (read_checkpoint(folder / 'iter_4.pth') for folder in (work_dir, tmp_path))
    assert expected['state_dict'].keys() == ours['state_dict'].keys()
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in expected[part].items():
            assert torch.equal(torch.as_tensor(ours[part][key]), torch.as_tensor(value)), key


def test_the_checkpoint_is_read_merged_into_the_plain_model(trained, data, tmp_path):
    from mmengine.registry import MODELS
    name, work_dir, runner, _, _ = trained
    plain = MODELS.build(runner.cfg.model).eval()
    assert not load_weights(plain, work_dir / 'iter_4.pth').missing
    images = torch.randn(1, 3, 64, 64)
    averaged = dict(read_checkpoint(work_dir / 'iter_4.pth')['state_dict'])
    runner.model.load_state_dict(averaged)
    with torch.no_grad():
        for ours, expected in zip(plain.backbone(images), runner.model.eval().backbone(images)):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_another_part_frozen_is_no_exact_resume(trained, data, tmp_path):
    name, work_dir, *_ = trained
    settings = dict(copy.deepcopy(SETTINGS[name]), resume=True,
                    load_from=str(work_dir / 'iter_2.pth'))
    settings['freeze'] = ['auxiliary_head']
    with pytest.raises(InputError, match='resume with the config that wrote it'):
        train(data, tmp_path, **settings)


@pytest.mark.parametrize('settings, told', [
    (dict(freeze=['conf']), "freeze: ToyModel has no part 'conf'; it has conv"),
    (dict(freeze='conv'), "freeze='conv': give a list"),
    (dict(lora=dict(rang=4)), r'lora={.rang.: 4}: give True or dict\(rank=..., alpha=...'),
    (dict(lora=True), 'lora: ToyModel has no backbone')])
def test_wrong_settings_are_refused_before_any_work(settings, told, tmp_path):
    with pytest.raises(InputError, match=told):
        Runner.from_cfg(toy_config(tmp_path, **settings))


def test_adapters_and_the_whole_backbone_frozen_contradict_each_other(data, tmp_path):
    pytest.importorskip('peft')
    with pytest.raises(InputError, match='freezes the adapters of lora, too'):
        Runner.from_cfg(config(data, tmp_path, lora=True, freeze=['backbone']))
