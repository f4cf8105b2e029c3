"""The config of every plan can be read, builds its model, and says what the plan says."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / 'configs'))
from config_files import build_on_meta  # noqa: E402

from convnext_dense.config import load_config  # noqa: E402
from convnext_dense.planning.config_text import config_text  # noqa: E402
from convnext_dense.planning.facts import DataFacts, Machine  # noqa: E402
from convnext_dense.planning.policy import make_plan  # noqa: E402

DATA = DataFacts('masks', train=200, val=40, test=20, classes=3, objects=900, width=1024,
                 height=768, small=60.)
CLASSES = ('apple', "grower's pear", 'plum')
MACHINES = {'cpu': Machine(2), 'gpu': Machine(8, 'RTX 3060', 11.8),
            'large gpu': Machine(8, 'A100', 79.)}


@pytest.mark.parametrize('machine', MACHINES)
@pytest.mark.parametrize('task', ['masks', 'boxes', 'labels'])
def test_the_config_of_a_plan_builds_its_model(task, machine, tmp_path):
    data = DATA._replace(task=task)
    plan = make_plan(data, MACHINES[machine], None if machine == 'cpu' else 'convnext-tiny_in1k')
    path = tmp_path / 'config.py'
    path.write_text(config_text(plan, data, CLASSES, '.png'))
    assert max(map(len, path.read_text().splitlines())) <= 100
    cfg = load_config(path)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert cfg[loader].dataset.data_root == f'{tmp_path}/data/'
        assert tuple(cfg[loader].dataset.metainfo.classes) == CLASSES
        if task == 'labels':
            assert cfg[loader].dataset.img_suffix == '.png'
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == plan.batch
    assert cfg.train_cfg.max_iters == plan.max_iters
    assert cfg.optim_wrapper.optimizer.lr == plan.lr
    assert cfg.model.backbone.arch == plan.arch
    model = build_on_meta(cfg)
    head = model.decode_head if task == 'labels' else model.roi_head.bbox_head
    assert head.num_classes == 3
    assert task == 'labels' or model.with_mask is (task == 'masks')
    if task != 'labels':
        steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
        assert cfg.train_dataloader.dataset.pipeline[steps.index('LoadAnnotations')].with_mask is \
            (task == 'masks')
        assert cfg.test_evaluator.metric == (['bbox', 'segm'] if task == 'masks' else ['bbox'])
        assert cfg.test_evaluator.ann_file == f'{tmp_path}/data/annotations/test.json'


@pytest.mark.parametrize('classes', [
    ('plum',), tuple(f'class {number}' for number in range(30)),
    ("grower's  pear", 'a "large" apple', 'tab\there', 'new\nline', 'half-ripe plum ' * 8)])
def test_class_names_of_any_length_are_read_as_they_are(classes, tmp_path):
    data = DATA._replace(task='labels', classes=len(classes))
    path = tmp_path / 'config.py'
    path.write_text(config_text(make_plan(data, Machine(2)), data, classes))
    assert max(map(len, path.read_text().splitlines())) <= 100
    assert tuple(load_config(path).classes) == classes
