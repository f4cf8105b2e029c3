"""The Python code that README and docs print, run as it stands."""
import json
import re
from itertools import islice
from pathlib import Path

import pytest
import torch
from peers import import_timm, import_transformers

from convnext_dense.analysis.complexity import build_on_meta
from convnext_dense.checkpoints import loading
from convnext_dense.cli import main
from convnext_dense.config import load_config
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.models import ConvNeXt
from convnext_dense.parallel import DdpSettings, FsdpSettings, parallel_settings
from convnext_dense.registry import HOOKS
from convnext_dense.runtime.bad_image_list import BadImageList
from convnext_dense.runtime.loading import build_loader

CLONE = Path(__file__).resolve().parents[1]
SHAPES = "('disc', 'ring', 'square', 'triangle', 'star')"
# what makes a config for a GPU trainable in a test: sizes alone
SMALL_DETECTOR = '''
_base_ = 'mine.py'
model = dict(
    backbone=dict(arch='atto', init_cfg=None),
    neck=dict(in_channels=[40, 80, 160, 320]),
    train_cfg=dict(rpn_proposal=dict(nms_pre=50, max_per_img=8)),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=8)))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_pipeline = [dict(step, **(dict(scale=(64, 64)) if step.type == 'Resize' else {}))
                 for step in _base_.test_pipeline]
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
'''
SMALL_SEGMENTER = '''
_base_ = 'mine.py'
model = dict(
    backbone=dict(arch='atto', init_cfg=None),
    data_preprocessor=dict(size=(64, 64)),
    decode_head=dict(in_channels=[40, 80, 160, 320], channels=16),
    auxiliary_head=dict(in_channels=160, channels=16),
    test_cfg=dict(_delete_=True, mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_iters=1, val_interval=1)
'''


def code_blocks(file):
    return re.findall(r'^```python\n(.*?)^```', (CLONE / file).read_text(), re.M | re.S)


def own_data(kind):
    """README's config for a user's own data."""
    block, = (block for block in code_blocks('README.md')
              if block.startswith('_base_') and kind in block)
    return block


FILES = ['README.md', 'CONTRIBUTING.md', *(f'docs/{path.name}' for path in
                                           sorted((CLONE / 'docs').glob('*.md')))]


@pytest.mark.parametrize('file, number', [
    (file, number) for file in FILES for number in range(len(code_blocks(file)))])
def test_every_block_is_python(file, number):
    compile(code_blocks(file)[number], f'{file}, block {number}', 'exec')


@pytest.mark.parametrize('kind, classes', [('cascade', ('cat', 'dog')),
                                           ('upernet', ('background', 'crack'))])
def test_own_data_as_printed_is_a_model_of_these_classes(kind, classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('mine.py').write_text(own_data(kind))
    cfg = load_config('mine.py')
    assert cfg.val_dataloader.dataset.metainfo.classes == classes
    model = build_on_meta(cfg)
    heads = [*model.roi_head.bbox_head, *model.roi_head.mask_head] if kind == 'cascade' else \
        [model.decode_head, model.auxiliary_head]
    assert all(head.num_classes == 2 for head in heads)


def test_a_detector_of_own_data_trains_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes('shapes', train=2, val=2, size=64)
    Path('data/annotations').mkdir(parents=True)
    for split, name in (('training', 'train2017'), ('validation', 'val2017')):
        Path(f'shapes/images/{split}').rename(f'data/{name}')
        Path(f'shapes/annotations/instances_{split}.json').rename(
            f'data/annotations/instances_{name}.json')
    # the printed names stand for a user's own
    Path('mine.py').write_text(own_data('cascade').replace("('cat', 'dog')", SHAPES))
    Path('small.py').write_text(SMALL_DETECTOR)
    train('data', 'train_cfg.max_epochs=1', 'default_hooks.checkpoint.interval=1')
    assert list(Path('work_dirs/small').glob('epoch_1.pth'))


def test_a_segmenter_of_own_data_trains_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes('shapes', train=2, val=2, size=64)
    for path in Path('shapes/annotations').rglob('*.png'):
        _as_mask(path)
    Path('mine.py').write_text(own_data('upernet'))
    Path('small.py').write_text(SMALL_SEGMENTER)
    train('shapes', 'default_hooks.checkpoint.interval=1', 'default_hooks.logger.interval=1')
    assert list(Path('work_dirs/small').glob('iter_1.pth'))
    assert 'crack' in next(Path('work_dirs/small').rglob('*.log')).read_text()


def _as_mask(path):
    """Background and one class."""
    import cv2
    cv2.imwrite(str(path), (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 1).astype('uint8'))


def train(data, *options):
    workers = [f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
               for key in ('num_workers=0', 'persistent_workers=False')]
    assert main(['train', 'small.py', '--data-root', data, '--device', 'cpu',
                 '--cfg-options', *workers, *options]) == 0


def test_the_backbone_and_constructor_for_a_config_of_ones_own(tmp_path):
    block, = (block for block in code_blocks('README.md') if block.startswith('model = '))
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'convnext_dense::mask_rcnn/"
                    "mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco.py'\n" + block)
    cfg = load_config(path)
    model = build_on_meta(cfg)
    assert isinstance(model.backbone, ConvNeXt) and model.backbone.init_cfg
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=.95, decay_type='layer_wise')


@pytest.fixture
def scope(tmp_path, monkeypatch):
    """What the docs' blocks take as given: a model, and weights that need no network."""
    weights = tmp_path / 'weights.pth'
    model = ConvNeXt('atto')
    torch.save(model.state_dict(), weights)
    monkeypatch.setattr(loading, 'locate', lambda source: weights)
    return dict(model=model, images=torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize('file, starts', [
    ('docs/weights.md', 'backbone=dict(type='), ('docs/weights.md', 'from convnext_dense import'),
    ('docs/speed.md', 'from convnext_dense import Acceleration')])
def test_other_blocks_run(file, starts, scope):
    block, = (block for block in code_blocks(file) if block.startswith(starts))
    exec(block, scope)


def test_an_export_loads_into_the_peers_as_the_block_loads_it(tmp_path, monkeypatch):
    from safetensors.torch import load_file
    timm, transformers = import_timm(), import_transformers()
    block, = (block for block in code_blocks('docs/weights.md') if 'from_pretrained' in block)
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=ConvNeXt('tiny').state_dict()), 'model.pth')
    Path('folder').mkdir()
    transformers.ConvNextConfig().save_pretrained('folder')
    for kind, path in (('timm', 'timm.safetensors'), ('transformers', 'folder/model.safetensors')):
        assert main(['convert-checkpoint', 'model.pth', path, '--to', kind]) == 0
    scope = dict(timm=timm, load_file=load_file, ConvNextModel=transformers.ConvNextModel)
    exec(block, scope)
    assert scope['backbone']['init_cfg']['prefix'] == 'backbone.'


def test_a_factor_on_the_backbone_as_the_docs_have_it():
    from mmengine.optim import build_optim_wrapper
    from torch import nn
    block, = code_blocks('docs/heads.md')
    scope = {}
    exec(block, scope)
    model = nn.ModuleDict(dict(backbone=nn.Linear(1, 1), head=nn.LayerNorm(1)))
    wrapper = build_optim_wrapper(model, dict(
        scope['optim_wrapper'], type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1., weight_decay=.05)))
    of = {id(group['params'][0]): (group['lr'], group['weight_decay'])
          for group in wrapper.optimizer.param_groups}
    assert of[id(model.backbone.weight)] == (.1, .05) and of[id(model.head.weight)] == (1., 0.)


def test_several_data_sets_are_seen_by_their_weights(tmp_path, monkeypatch):
    block, = code_blocks('docs/data.md')
    scope = {}
    exec(block, scope)
    for name, images in dict(first=4, second=6).items():
        folder = tmp_path / 'data' / name / 'annotations'
        folder.mkdir(parents=True)
        (folder / 'train.json').write_text(json.dumps(dict(
            images=[dict(id=number, file_name=f'{number}.jpg', width=9, height=9)
                    for number in range(images)],
            categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
            annotations=[dict(id=number, image_id=number, category_id=1, bbox=[1, 1, 3, 3])
                         for number in range(images)])))
    monkeypatch.chdir(tmp_path)
    loader = build_loader(scope['train_dataloader'], 'train_dataloader',
                          BadImageList(tmp_path / 'bad_images.jsonl'), run_seed=0, seed=0)
    drawn = list(islice(iter(loader.sampler), 1000))
    assert set(drawn) == set(range(10)) and 700 < sum(index >= 4 for index in drawn) < 800


def test_the_settings_of_several_processes_are_known():
    block, = code_blocks('docs/scaling.md')
    types = []
    for line in block.splitlines():
        scope = {}
        exec(line, scope)
        types.append(type(parallel_settings(scope['parallel'])))
    assert types == [DdpSettings, FsdpSettings]


def test_the_settings_of_a_run_s_report_are_known():
    block, = code_blocks('docs/run-report.md')
    scope = {}
    exec(block, scope)
    hook = HOOKS.build(scope['default_hooks']['report'])
    assert (hook.images, hook.worst) == (4, 6)


#: how many Python blocks each file prints, all of which a test runs: here, and those that predict
#: in tests/prediction/test_printed_code.py, and the one that asks a server in
#: tests/web/test_printed_serving.py
EXECUTED = {'README.md': 4, 'docs/data.md': 1, 'docs/heads.md': 1, 'docs/predict.md': 1,
            'docs/speed.md': 1, 'docs/run-report.md': 1, 'docs/scaling.md': 1, 'docs/serve.md': 1,
            'docs/weights.md': 3}


def test_no_block_is_printed_that_no_test_runs():
    assert {file: len(code_blocks(file)) for file in FILES if code_blocks(file)} == EXECUTED
