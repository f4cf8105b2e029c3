"""Files with several backbones, and weights under other keys: a clear choice at every door."""
import pytest
import torch
from mmengine.config import Config
from tiny_weights import Detector, convnext, convnext_file, official_state, randomise

from convnext_dense.checkpoints import load_weights, state_dict_of
from convnext_dense.checkpoints.fine_tuning import init_from_settings, plan_fine_tuning
from convnext_dense.checkpoints.inspection import inspect_checkpoint, summary
from convnext_dense.cli import main
from convnext_dense.config import set_init_from
from convnext_dense.errors import InputError

FIRST, SECOND = official_state(seed=0), official_state(seed=1)


def two(first, second, names=FIRST, others=SECOND):
    return {**{first + key: value for key, value in names.items()},
            **{second + key: value for key, value in others.items()}}


def holds(model, state):
    own = model.state_dict()
    return all(torch.equal(own[key], value) for key, value in state.items() if key in own)


@pytest.mark.parametrize('first, second', [
    ('student.backbone.', 'teacher.backbone.'), ('ema.', 'model.'), ('model.', 'ema_model.'),
    ('visual.trunk.', 'student.')])
def test_two_backbones_are_named_and_a_prefix_chooses(first, second):
    file = two(first, second)
    roots = [prefix.removesuffix('backbone.') for prefix in (first, second)]
    with pytest.raises(InputError, match=rf'a dict holds 2 backbones, under .*{roots[0]}') as error:
        load_weights(convnext(), file)
    assert roots[1] in str(error.value) and 'prefix=' in str(error.value)
    for root, state in zip(roots, (FIRST, SECOND)):
        ours = convnext()
        load_weights(ours, file, prefix=root)
        assert holds(ours, state)


def test_the_larger_of_two_backbones_is_no_choice_either():
    """A teacher is often larger than its student."""
    larger = {**SECOND, **{key.replace('stages.2.1', 'stages.2.3'): value
                           for key, value in SECOND.items()}}
    with pytest.raises(InputError, match=r'2 backbones, under teacher\. and student\.'):
        load_weights(convnext(), two('student.', 'teacher.', others=larger))


def test_neither_starting_from_other_classes_nor_converting_takes_one_silently(tmp_path):
    file = two('student.backbone.', 'teacher.backbone.')
    wanted = Detector(convnext()).state_dict()
    with pytest.raises(InputError, match='the file holds 2 backbones'):
        plan_fine_tuning(wanted, file, ('a', ), ('a', ), 'the file')
    plan = plan_fine_tuning(wanted, state_dict_of(file, 'the file', 'teacher'), ('a', ), ('a', ),
                            'the file')
    key = 'stages.2.1.gamma'
    assert torch.equal(plan.tensors[f'backbone.{key}'], SECOND[key])
    torch.save(file, tmp_path / 'a.pth')
    assert main(['convert-checkpoint', str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')]) == 2
    assert main(['convert-checkpoint', str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth'),
                 '--prefix', 'teacher']) in (0, None)
    ours = convnext()
    load_weights(ours, tmp_path / 'b.pth')
    assert holds(ours, SECOND)


def test_inspecting_names_the_others(tmp_path):
    torch.save(two('student.', 'teacher.'), tmp_path / 'a.pth')
    described = inspect_checkpoint(tmp_path / 'a.pth')
    assert (described['prefix'], described['others']) == ('student.', ['teacher.'])
    assert 'teacher. (the above is of student.)' in summary(described)
    assert inspect_checkpoint(tmp_path / 'a.pth', 'teacher')['others'] == []


@pytest.mark.parametrize('first, second', [
    ('backbone.', 'teacher.backbone.'), ('backbone.', 'neck.rfp_modules.0.')])
def test_the_backbone_that_stands_as_a_model_s_own_is_taken(first, second):
    ours = convnext()
    load_weights(ours, two(first, second))
    assert holds(ours, FIRST)


def test_the_names_of_the_model_decide():
    """mmdet's semi-supervised detectors hold both."""
    model = torch.nn.ModuleDict(dict(student=convnext(), teacher=convnext()))
    own = randomise(model).state_dict()
    fresh = torch.nn.ModuleDict(dict(student=convnext(), teacher=convnext()))
    load_weights(fresh, own)
    assert holds(fresh, own)


@pytest.mark.parametrize('path', ['state_dict_ema', 'teacher', 'ema', 'model.state_dict'])
@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_weights_under_other_keys_are_named_and_taken_by_prefix(path, wrapper):
    checkpoint = {wrapper + key: value for key, value in convnext_file('timm').items()}
    for key in reversed(path.split('.')):
        checkpoint = {key: checkpoint, 'epoch': 3, 'loss': {'center': torch.ones(3)}}
    with pytest.raises(InputError, match=f"tensors under {path}.*take some with prefix='{path}'"):
        load_weights(convnext(), checkpoint)
    ours = convnext()
    load_weights(ours, checkpoint, prefix=path)
    assert holds(ours, FIRST)


def test_a_prefix_goes_on_inside_such_a_dict():
    checkpoint = dict(teacher={f'module.backbone.{key}': value for key, value in SECOND.items()},
                      student={f'module.backbone.{key}': value for key, value in FIRST.items()})
    ours = convnext()
    load_weights(ours, checkpoint, prefix='teacher.backbone')
    assert holds(ours, SECOND)
    with pytest.raises(InputError, match="nothing under prefix 'other.'; it has teacher.backbone"):
        load_weights(ours, checkpoint, prefix='other')


@pytest.mark.parametrize('average', ['ema_state_dict', 'state_dict_ema', 'model_ema'])
def test_an_average_beside_the_weights_is_no_second_backbone(average):
    ours = convnext()
    load_weights(ours, {average: SECOND, 'state_dict': FIRST})
    assert holds(ours, FIRST)


def test_a_stray_tensor_beside_the_dicts_is_no_model():
    with pytest.raises(InputError, match='tensors under teacher; take some with'):
        load_weights(convnext(), dict(teacher=FIRST, temperature=torch.ones(1)))


def test_init_from_takes_a_prefix():
    cfg = Config(dict(model=dict(backbone=dict())))
    set_init_from(cfg, 'a.pth', None, 'teacher')
    assert init_from_settings(cfg.init_from)['prefix'] == 'teacher'
    with pytest.raises(InputError, match='--init-prefix is a prefix in --init-from SOURCE'):
        set_init_from(cfg, None, None, 'teacher')
    with pytest.raises(InputError, match='give a file, URL or name'):
        init_from_settings(dict(source='a.pth', prefix=5))
