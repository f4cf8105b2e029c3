"""Reading a config and fitting it to options and machine."""
import os

import pytest
import torch
from mmengine.config import Config

from convnext_dense import config as C
from convnext_dense.commands.options import choose_device, parse_overrides
from convnext_dense.config_device import MOST_BOXES_AT_ONCE
from convnext_dense.errors import InputError


def dataset(**more):
    return dict(type='CocoDataset', data_root='data/coco/', ann_file='annotations/a.json', **more)


def detection():
    return Config(dict(
        default_scope='mmdet', data_root='data/coco/',
        model=dict(type='MaskRCNN', roi_head=dict(bbox_head=[
            dict(norm_cfg=dict(type='SyncBN', requires_grad=True))])),
        train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dataset())),
        val_dataloader=dict(dataset=dataset()), test_dataloader=dict(dataset=dataset(pipeline=[])),
        val_evaluator=dict(type='CocoMetric', ann_file='data/coco/annotations/val.json'),
        test_evaluator=[dict(type='CocoMetric', ann_file='data/coco/annotations/val.json')],
        optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic',
                           optimizer=dict(type='AdamW', lr=1.)),
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        default_hooks=dict(visualization=dict(type='DetVisualizationHook'))))


@pytest.mark.parametrize('text, words', [
    ('model = dict(', ['does not parse', 'SyntaxError']),
    ("_base_ = 'missing.py'", ['does not parse', 'missing.py']),
    ('x = 1 / 0', ['does not parse', 'ZeroDivisionError'])])
def test_a_config_that_does_not_parse_is_named(tmp_path, text, words):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(InputError) as error:
        C.load_config(str(path))
    assert str(path) in str(error.value) and all(word in str(error.value) for word in words)
    assert '\n' not in str(error.value)


def test_overrides_are_merged_and_wrong_ones_named(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text('model = dict(depth=1, head=[dict(a=1)])')
    assert C.load_config(str(path), parse_overrides(['model.depth=2'])).model.depth == 2
    with pytest.raises(InputError, match='--cfg-options'):
        C.load_config(str(path), {'model.head.3.a': 2})
    with pytest.raises(InputError, match='KEY=VALUE'):
        parse_overrides(['model.depth', '=', '2'])


def test_data_root_moves_data_sets_and_evaluators_together():
    cfg = detection()
    C.set_data_root(cfg, '/elsewhere')
    assert cfg.data_root == '/elsewhere/'
    assert cfg.train_dataloader.dataset.dataset.data_root == '/elsewhere/'
    assert cfg.test_dataloader.dataset.data_root == '/elsewhere/'
    assert cfg.val_evaluator.ann_file == '/elsewhere/annotations/val.json'
    assert cfg.test_evaluator[0].ann_file == '/elsewhere/annotations/val.json'


def apart():
    """Training and validation data in different folders."""
    cfg = detection()
    cfg.val_dataloader.dataset.data_root = cfg.test_dataloader.dataset.data_root = 'data/val'
    cfg.val_evaluator.ann_file = 'data/val/annotations/val.json'
    return cfg


def test_one_data_root_for_data_sets_of_two_folders_is_refused():
    """Both would be read from one folder, whose validation images may be others."""
    with pytest.raises(InputError) as error:
        C.set_data_root(apart(), '/elsewhere')
    assert str(error.value) == (
        '--data-root /elsewhere: the data sets lie in data/coco/ and data/val/, which one folder '
        'cannot replace; name the loaders: --data-root train=FOLDER --data-root val=FOLDER '
        '--data-root test=FOLDER')


def test_a_data_root_may_name_the_loader():
    cfg = apart()
    C.set_data_root(cfg, ['train=/t', 'val=/v/'])
    assert cfg.train_dataloader.dataset.dataset.data_root == '/t/'
    assert cfg.val_dataloader.dataset.data_root == '/v/'
    assert cfg.val_evaluator.ann_file == '/v/annotations/val.json'
    assert cfg.test_dataloader.dataset.data_root == 'data/val'
    assert cfg.test_evaluator[0].ann_file == 'data/coco/annotations/val.json'


@pytest.mark.parametrize('roots, words', [
    (['/a', '/b'], 'give one folder'), (['/a', 'val=/b'], 'give one folder'),
    (['test=/x'], 'test_dataloader has no data_root')])
def test_data_roots_that_cannot_be_meant_are_refused(roots, words):
    cfg = detection()
    cfg.pop('test_dataloader')
    with pytest.raises(InputError, match=words):
        C.set_data_root(cfg, roots)


def test_several_folders_of_one_loader_are_not_moved_into_one():
    cfg = detection()
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[
        dict(type='CocoDataset', data_root=root) for root in ('a/', 'b/')])
    with pytest.raises(InputError, match='train_dataloader reads from a/ and b/'):
        C.set_data_root(cfg, ['train=/x'])


def test_data_root_without_a_data_set_to_move_is_an_error():
    with pytest.raises(InputError, match='data_root'):
        C.set_data_root(Config(dict(train_dataloader=dict(dataset=dict(type='D')))), '/x')


def test_on_a_cpu_syncbn_becomes_bn_nccl_gloo_and_amp_is_off(monkeypatch):
    monkeypatch.setattr('convnext_dense.bfloat16_gain.bfloat16_gain', lambda: 1.)
    cfg = detection()
    C.set_device(cfg, 'cpu')
    assert cfg.model.roi_head.bbox_head[0].norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1., fused=True))
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'


@pytest.mark.parametrize('gain, dtype, on', [
    (8., None, True), (1.5, None, False), (1.5, 'bfloat16', True), (8., 'float16', False)])
def test_on_a_cpu_amp_is_in_bfloat16_where_that_is_measured_to_pay(monkeypatch, gain, dtype, on):
    monkeypatch.setattr('convnext_dense.bfloat16_gain.bfloat16_gain', lambda: gain)
    cfg = detection()
    if dtype:
        cfg.optim_wrapper.dtype = dtype
    for _ in range(2):  # what is set stays
        C.set_device(cfg, 'cpu')
    kind = 'convnext_dense.Bfloat16OptimWrapper' if on else 'OptimWrapper'
    assert cfg.optim_wrapper == dict(
        type=kind, optimizer=dict(type='AdamW', lr=1., fused=True))
    assert cfg.get('acceleration') == (dict(float32_predictions=True) if on else None)


@pytest.mark.parametrize('gain', [8., 1.5])
def test_tests_are_in_bfloat16_where_that_is_measured_to_pay(monkeypatch, gain):
    monkeypatch.setattr('convnext_dense.bfloat16_gain.bfloat16_gain', lambda: gain)
    cfg = detection()
    cfg.acceleration = dict(forms=False)
    C.enable_amp_tests(cfg, 'cpu')
    assert cfg.acceleration == (dict(forms=False, bfloat16=True) if gain > 3 else
                                dict(forms=False))
    cfg.acceleration = False
    with pytest.raises(InputError, match='take one of the two'):
        C.enable_amp_tests(cfg, 'cpu')


@pytest.mark.parametrize('bfloat16', [True, False])
def test_on_a_gpu_amp_is_in_the_type_that_it_computes_in(monkeypatch, bfloat16):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: bfloat16)
    cfg = detection()
    del cfg.optim_wrapper.loss_scale
    for _ in range(2):  # what is set stays
        C.set_device(cfg, 'cuda')
    wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1., fused=True))
    assert cfg.optim_wrapper == (dict(wrapper, dtype='bfloat16', loss_scale=dict(enabled=False))
                                 if bfloat16 else dict(wrapper, dtype='float16'))
    assert cfg.acceleration == dict(float32_predictions=True)
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'


def test_on_a_gpu_what_a_config_says_of_amp_and_optimizer_stays():
    cfg = detection()
    cfg.optim_wrapper.dtype = 'float16'
    cfg.optim_wrapper.optimizer.foreach = True
    before = cfg.optim_wrapper.to_dict()
    C.set_device(cfg, 'cuda')
    assert cfg.optim_wrapper.to_dict() == before
    cfg = Config(dict(model=dict(), optim_wrapper=dict(type='OptimWrapper',
                                                       optimizer=dict(type='SGD', lr=1.))))
    C.set_device(cfg, 'cuda')
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.))
    assert 'custom_hooks' not in cfg


def test_on_a_cpu_nms_of_many_boxes_is_split():
    nms = dict(type='nms', iou_threshold=.5)
    cfg = Config(dict(model=dict(test_cfg=dict(
        rpn=dict(nms=nms), rcnn=dict(nms=dict(nms, split_thr=7)),
        soft=dict(nms=dict(type='soft_nms')), none=dict(nms=None)))))
    C.set_device(cfg, 'cuda')
    assert cfg.model.test_cfg.rpn.nms == nms
    C.set_device(cfg, 'cpu')
    assert cfg.model.test_cfg.rpn.nms == dict(nms, split_thr=MOST_BOXES_AT_ONCE)
    assert cfg.model.test_cfg.rcnn.nms.split_thr == 7
    assert cfg.model.test_cfg.soft.nms == dict(type='soft_nms')


@pytest.mark.parametrize('number', [MOST_BOXES_AT_ONCE - 1, MOST_BOXES_AT_ONCE])
def test_split_nms_keeps_the_same_boxes(number):
    from mmcv.ops import batched_nms
    torch.manual_seed(0)
    corners = torch.rand(number, 2) * 200
    boxes = torch.cat([corners, corners + 20 + torch.rand(number, 2) * 60], dim=1)
    scores, labels = torch.rand(number), torch.randint(0, 5, (number, ))
    nms = dict(type='nms', iou_threshold=.5, max_num=100)
    expected = batched_nms(boxes, scores, labels, nms)
    found = batched_nms(boxes, scores, labels, dict(nms, split_thr=MOST_BOXES_AT_ONCE))
    assert len(expected[1]) == 100
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_an_adamw_that_is_not_fused_stays_on_a_cpu():
    cfg = detection()
    cfg.optim_wrapper.optimizer.fused = False
    C.set_device(cfg, 'cpu')
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1., fused=False)


@pytest.mark.parametrize('launcher, norm', [('none', 'BN'), ('pytorch', 'SyncBN')])
def test_on_gpus_syncbn_is_for_several_processes(launcher, norm):
    cfg = detection()
    cfg.launcher, cfg.optim_wrapper.dtype = launcher, 'float16'
    C.set_device(cfg, 'cuda')
    assert cfg.model.roi_head.bbox_head[0].norm_cfg.type == norm


def test_work_dir_is_the_option_or_the_configs_or_named_after_it():
    cfg = Config(dict(), cfg_text='# none', filename='configs/upernet/x.py')
    C.set_work_dir(cfg, None)
    assert cfg.work_dir == 'work_dirs/x'
    cfg = Config(dict(work_dir='own'))
    C.set_work_dir(cfg, None)
    assert cfg.work_dir == 'own'
    C.set_work_dir(cfg, 'option')
    assert cfg.work_dir == 'option'


def test_amp_and_auto_scale_lr():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    C.enable_amp(cfg)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper')
    with pytest.raises(InputError, match='base_batch_size'):
        C.enable_auto_scale_lr(cfg)
    cfg.auto_scale_lr = dict(base_batch_size=16)
    C.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable


def test_tta_wraps_the_model_and_takes_its_pipeline():
    cfg = detection()
    with pytest.raises(InputError, match='no tta_model and no tta_pipeline'):
        C.enable_tta(cfg)
    cfg.tta_model, cfg.tta_pipeline = dict(type='DetTTAModel'), [dict(type='TestTimeAug')]
    C.enable_tta(cfg)
    assert cfg.model.type == 'DetTTAModel' and cfg.model.module.type == 'MaskRCNN'
    assert cfg.test_dataloader.dataset.pipeline == [dict(type='TestTimeAug')]


def test_images_and_predictions_are_written_where_asked():
    cfg = detection()
    C.enable_images(cfg, show_dir='images')
    assert cfg.custom_hooks[-1] == dict(type='convnext_dense.DrawingHook', folder='images')
    C.keep_predictions(cfg, 'out.pkl')
    assert cfg.test_evaluator[-1] == dict(type='mmdet.DumpDetResults', out_file_path='out.pkl')
    with pytest.raises(InputError, match='.pkl'):
        C.keep_predictions(cfg, 'out.json')
    segmenter = Config(dict(default_scope='mmseg', test_evaluator=dict(type='IoUMetric')))
    C.keep_predictions(segmenter, 'labels')
    assert segmenter.test_evaluator.output_dir == 'labels'


def test_one_of_several_metrics_writes_label_maps():
    def segmenter(*metrics):
        return Config(dict(default_scope='mmseg', test_evaluator=[
            dict(type=name) for name in metrics]))
    cfg = segmenter('DepthMetric', 'IoUMetric', 'IoUMetric')
    C.keep_predictions(cfg, 'labels')
    assert [one.get('output_dir') for one in cfg.test_evaluator] == [None, 'labels', None]
    with pytest.raises(InputError, match='--out labels: none of the metrics DepthMetric, FWIoU'):
        C.keep_predictions(segmenter('DepthMetric', 'FWIoU'), 'labels')


@pytest.mark.parametrize('name', ['gpu', 'cuda:x', 'cpu:y'])
def test_an_unknown_device_is_named(name):
    with pytest.raises(InputError, match=f'--device {name}'):
        choose_device(name)


def test_cpu_can_be_chosen(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
    assert choose_device('cpu') == 'cpu'


@pytest.mark.parametrize('visible, name, selected', [
    (None, 'cuda:1', '1'), ('4,5', 'cuda:1', '5'), ('4,5', 'cuda:0', '4'), ('4,5', 'cuda', '4,5'),
    ('4, 5', 'cuda:1', '5'), ('GPU-8a,GPU-9b', 'cuda:1', 'GPU-9b'), ('4,5', 'cpu', '')])
def test_a_gpu_is_counted_among_the_visible_ones(monkeypatch, visible, name, selected):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    choose_device(name)
    assert os.environ['CUDA_VISIBLE_DEVICES'] == selected


@pytest.mark.parametrize('visible', ['4,5', '', '7'])
def test_a_gpu_that_is_not_visible_is_refused(monkeypatch, visible):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    with pytest.raises(InputError, match=f'--device cuda:2: CUDA_VISIBLE_DEVICES={visible} leaves'):
        choose_device('cuda:2')


@pytest.mark.parametrize('key, nearest', [
    ('train_dataloder.batch_size', 'train_dataloader'), ('optim_wraper.clip_grad', 'optim_wrapper'),
    ('max_iter', 'max_iters'), ('bad_image.limit', 'bad_images'), ('modl.backbone', 'model')])
def test_a_misspelt_key_of_an_option_is_refused_with_the_nearest(key, nearest):
    with pytest.raises(InputError, match=f"--cfg-options {key}: the config has no .*; did you mean "
                       f"'{nearest}'"):
        C.load_config('configs/examples/upernet_convnextv2-atto_camvid.py', {key: 3})
    C.load_config('configs/examples/upernet_convnextv2-atto_camvid.py', {'own_variable': 3})


def test_types_may_be_classes():
    from mmengine.config import ConfigDict
    from mmengine.optim import AmpOptimWrapper
    from torch.optim import AdamW

    from convnext_dense.config_nodes import type_name
    cfg = ConfigDict(model={}, optim_wrapper=dict(type=AmpOptimWrapper, optimizer=dict(
        type=AdamW, lr=.1), loss_scale='dynamic'))
    C.set_device(cfg, 'cpu')
    assert type_name(cfg.optim_wrapper) == 'OptimWrapper' and 'loss_scale' not in cfg.optim_wrapper
    assert cfg.optim_wrapper.optimizer.fused
    assert [type_name(dict(type=kind)) for kind in (
        'mmdet.CocoDataset', 'CocoDataset', AdamW, None)] == [
            'CocoDataset', 'CocoDataset', 'AdamW', None]
