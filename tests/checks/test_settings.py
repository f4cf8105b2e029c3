"""Settings that cannot work together are found before any work, by name."""
import numpy as np
import pytest
from PIL import Image
from tiny_data import noise_image

from convnext_dense.checks.arguments import parameters
from convnext_dense.checks.audit_config import audit
from convnext_dense.checks.preflight import check_config
from convnext_dense.checks.settings import RULES, broken
from convnext_dense.errors import InputError


def spoil(cfg, **changes):
    """Change nested keys, given as ``model__decode_head__num_classes=1``."""
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return cfg


SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)

SEGMENTER = {
    'num_classes=1 with softmax: its loss is always 0': dict(
        model__decode_head__num_classes=1, model__auxiliary_head__num_classes=1, **{
            f'{name}_dataloader__dataset__metainfo__classes': ('disc', )
            for name in ('train', 'val', 'test')}),
    'out_channels=1 needs loss_decode.use_sigmoid=True': dict(model__decode_head__out_channels=1),
    'out_channels=3 does not fit num_classes=2': dict(model__decode_head__out_channels=3),
    'the ignored label differs: .*dataset.ignore_index=255.*decode_head.ignore_index=254': dict(
        model__decode_head__ignore_index=254),
    'the ignored label differs: .*val_evaluator.ignore_index=7': dict(
        val_evaluator__ignore_index=7),
    r"class_weight has 3 numbers, expected 2": dict(
        model__decode_head__loss_decode=dict(type='CrossEntropyLoss', class_weight=[1, 2, 3])),
    'class_weight and avg_non_ignore=True': dict(
        model__decode_head__loss_decode=dict(
            type='CrossEntropyLoss', class_weight=[1, 2], avg_non_ignore=True)),
    r'train_dataloader.batch_size=1, but model.decode_head \(UPerHead\)': dict(
        train_dataloader__batch_size=1, model__decode_head__norm_cfg=dict(type='BN')),
    'the last batch has 1 of 3 images with train_dataloader.batch_size=2': dict(
        train_dataloader__batch_size=2, model__decode_head__norm_cfg=dict(type='SyncBN'),
        train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True)),
    'total_steps=5 is less than the 9 iterations of train_cfg': dict(
        train_cfg=dict(by_epoch=False, max_iters=9), param_scheduler=[dict(
            type='OneCycleLR', eta_max=.1, total_steps=5, by_epoch=False)]),
    'total_steps=5 is less than the 6 iterations': dict(
        train_dataloader__batch_size=1, train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=2),
        param_scheduler=[dict(type='OneCycleLR', eta_max=.1, total_steps=5, by_epoch=False)]),
    'is of type InfiniteSampler, but train_cfg counts epochs': dict(
        train_dataloader__sampler=dict(type='InfiniteSampler'),
        train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=2)),
    'train_cfg.max_iters=0': dict(train_cfg=dict(by_epoch=False, max_iters=0)),
    r"train_cfg.val_interval='x'; give a whole number": dict(
        train_cfg=dict(by_epoch=False, max_iters=9, val_interval='x')),
    'train_cfg.val_interval=0; give a whole number of at least 1': dict(
        train_cfg=dict(by_epoch=False, max_iters=9, val_interval=0)),
    r"train_cfg.dynamic_intervals has \(3, 'x'\); give pairs": dict(
        train_cfg=dict(by_epoch=False, max_iters=9, dynamic_intervals=[(3, 'x')])),
    "load_from='/no/such.pth': /no/such.pth: no such file": dict(load_from='/no/such.pth'),
    "init_cfg.checkpoint='no/such.pth': no/such.pth: no such file": dict(
        model__backbone__init_cfg=dict(type='Pretrained', checkpoint='no/such.pth')),
    "init_from='convnext-tinny_in1k': .*convnext-tiny_in1k": dict(
        init_from='convnext-tinny_in1k'),
    '3 images, no whole batch of batch_size=8': dict(
        train_dataloader__batch_size=8, train_dataloader__drop_last=True),
    'mean has 4 values, but the backbone takes in_channels=3': dict(
        model__data_preprocessor=dict(type='SegDataPreProcessor', mean=[1, 2, 3, 4], std=[1] * 3)),
    'mean has 4 values, but SegDataPreProcessor takes 1 or 3: give one for all channels': dict(
        model__backbone__in_channels=4, model__data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[1, 2, 3, 4], std=[1] * 4)),
    'mean has 3 values, but the backbone takes in_channels=4; give one for all channels': dict(
        model__backbone__in_channels=4, model__data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[1, 2, 3], std=[1])),
    'needs mean and std together': dict(
        model__data_preprocessor=dict(type='SegDataPreProcessor', mean=[1, 2, 3])),
    "ConvNeXt takes no argument 'drop_path'; did you mean 'drop_path_rate'": dict(
        model__backbone__drop_path=.1),
    "custom_hooks.0: there is no type 'EMAHok'; did you mean 'EMAHook'": dict(
        custom_hooks=[dict(type='EMAHok')]),
    "CheckpointHook takes no argument 'intervall'; did you mean 'interval'": dict(
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', intervall=1))),
    "default_hooks.checkpoint.interval='often'; give a whole number": dict(
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval='often'))),
    "no type 'AdamWW'; did you mean 'AdamW'": dict(
        optim_wrapper=dict(optimizer=dict(type='AdamWW', lr=.1))),
    "optim_wrapper: OptimWrapper takes no argument 'clip_gradd'; did you mean 'clip_grad'": dict(
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1), clip_gradd=3)),
    "train_cfg: IterBasedTrainLoop takes no argument 'max_iter'; did you mean 'max_iters'": dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iter=9)),
    "train_dataloader: a data loader takes no argument 'batchsize'; did you mean": dict(
        train_dataloader__batchsize=3),
    "val_evaluator: there is no type 'IoUMetrik'; did you mean 'IoUMetric'": dict(
        val_evaluator__type='IoUMetrik'),
    "save_best='mDice', but val_evaluator gives no such figure": dict(
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mDice'))),
    "save_best='mBoundaryIoU', .* no such figure; it gives aAcc, mIoU, mAcc, mDice$": dict(
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice']),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mBoundaryIoU'))),
    "save_best='mIoU', .* no such figure; it only writes files": dict(
        val_evaluator=dict(type='IoUMetric', format_only=True, output_dir='out'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mIoU'))),
    "param_scheduler.0.monitor='loss', but val_evaluator gives no such figure; it gives aAcc": dict(
        param_scheduler=[dict(type='ReduceOnPlateauLR')]),
    'test_evaluator: two metrics give aAcc, mAcc; join them to one': dict(test_evaluator=[
        dict(type='IoUMetric', iou_metrics=['mIoU']),
        dict(type='IoUMetric', iou_metrics=['mDice'])]),
    "custom_hooks.0=.'momentum': 1.; expected a dict with a type": dict(
        custom_hooks=[dict(momentum=1)]),
    r'custom_hooks.0=\[.*; expected a dict with a type': dict(custom_hooks=[[{}]]),
    "val_evaluator=.'iou_metrics': .'mIoU'..; expected a dict with a type": dict(
        val_evaluator=dict(_delete_=True, iou_metrics=['mIoU'])),
    "optim_wrapper.optimizer=.'lr': 0.1.; expected a dict with a type": dict(
        optim_wrapper=dict(optimizer=dict(_delete_=True, lr=.1))),
    r'train_dataloader.sampler.type=\[.*; expected the name of a class': dict(
        train_dataloader__sampler=dict(type=['DefaultSampler'])),
    'visualizer.vis_backends=5; expected a list': dict(
        visualizer=dict(type='SegLocalVisualizer', vis_backends=5)),
    "log_processor.window_size='all'; give a whole number from 1 on": dict(
        log_processor=dict(type='LogProcessor', window_size='all')),
    'vis_backends.1: TensorboardVisBackend needs the package tensorboard, which is not': dict(
        visualizer=dict(type='SegLocalVisualizer', vis_backends=[
            dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])),
    'vis_backends.0: WandbVisBackend needs the package wandb, which is not installed': dict(
        visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='WandbVisBackend')])),
    'has train_dataloader and optim_wrapper, but no train_cfg; give all three': dict(
        train_cfg=None),
    'has test_dataloader and test_cfg, but no test_evaluator': dict(test_evaluator=None),
    "no type 'PolyLRR'; did you mean 'PolyLR'": dict(param_scheduler=dict(type='PolyLRR')),
    "transform|pipeline.2: there is no type 'RandomFlipp'; did you mean 'RandomFlip'": dict(
        train_dataloader__dataset__pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='RandomFlipp', prob=.5)]),
}
DETECTOR = {
    'the model has a mask head, but LoadAnnotations loads no masks': dict(
        train_dataloader__dataset__pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]),
    "has 'segm', but the model has no mask head": dict(
        model__roi_head__mask_head=None, val_evaluator__metric=['bbox', 'segm']),
    "custom_hooks.0.monitor='coco/segm_mAP', but val_evaluator gives no such figure": dict(
        custom_hooks=[dict(type='EarlyStoppingHook', monitor='coco/segm_mAP')]),
    'filter_cfg without test_mode=True leaves out images that val_evaluator counts': dict(
        val_dataloader__dataset__test_mode=False,
        val_dataloader__dataset__filter_cfg=dict(filter_empty_gt=True)),
    'indices=1 evaluates some of the images, and val_evaluator counts the objects of all': dict(
        val_dataloader__dataset__indices=1),
    'no step of its pipeline resizes, so scale_factor is not known': dict(
        val_dataloader__dataset__pipeline=[dict(type='LoadImageFromFile'),
                                           dict(type='PackDetInputs')]),
    'PackDetInputs.meta_keys lacks ori_shape, scale_factor': dict(
        val_dataloader__dataset__pipeline=[
            dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64)),
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_shape'))]),
}


@pytest.mark.parametrize('message, changes', SEGMENTER.items())
def test_settings_of_a_segmenter(labels, message, changes):
    refused(spoil(labels.cfg, **changes), message)


@pytest.mark.parametrize('message, changes', DETECTOR.items())
def test_settings_of_a_detector(coco, message, changes):
    refused(spoil(coco.cfg, **changes), message)


@pytest.fixture(autouse=True)
def none_installed(monkeypatch):
    """Whatever packages of visualizers are installed where the tests run."""
    monkeypatch.setattr('convnext_dense.checks.run_rules.find_spec', lambda name: None)


def refused(cfg, message):
    with pytest.raises(InputError, match=message) as error:
        check_config(cfg, training=True)
    assert '\n' not in str(error.value)
    assert audit(cfg, progress=False)[1].counts['config']


def test_each_rule_has_a_name_and_says_what_it_looks_at():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.looks_at for rule in RULES)


def test_figures_that_only_training_waits_for_do_not_stop_a_test(labels):
    spoil(labels.cfg, default_hooks__checkpoint=dict(type='CheckpointHook', save_best='mDice'))
    check_config(labels.cfg, training=False)


def test_a_metric_of_ones_own_may_give_any_figure(labels):
    from mmengine.registry import METRICS
    from mmseg.evaluation import IoUMetric

    class CountMetric(IoUMetric):
        pass
    METRICS.register_module(module=CountMetric, force=True)
    hook = dict(type='CheckpointHook', save_best='count', rule='greater')
    spoil(labels.cfg, val_evaluator__type='CountMetric', default_hooks__checkpoint=hook)
    check_config(labels.cfg, training=True)


@pytest.mark.parametrize('schedule, words', [
    (dict(type='PolyLR', end=50, by_epoch=False), 'ends after 50 iterations, training after 90'),
    (dict(type='CosineAnnealingLR', T_max=200, end=200, by_epoch=False), 'has not come down'),
    (dict(type='MultiStepLR', milestones=[8]), 'has by_epoch=True, but train_cfg counts'),
])
def test_a_doubtful_schedule_is_said_and_trained(labels, schedule, words):
    spoil(labels.cfg, train_cfg=dict(by_epoch=False, max_iters=90), param_scheduler=[schedule])
    check_config(labels.cfg, training=True)
    findings = audit(labels.cfg, progress=False)[1]
    assert findings.counts == {'config-doubtful': 1}
    assert words in findings.examples['config-doubtful'][0]


@pytest.mark.parametrize('changes, words', [
    (dict(model__data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[.485, .456, .406], std=[.229, .224, .225])),
     'are of pixels from 0 to 1, but LoadImageFromFile gives 0 to 255: multiply both by 255'),
    (dict(model__backbone__frozen_stages=2), 'model.backbone.frozen_stages keeps the backbone'),
    (dict(freeze=['backbone']), 'freeze keeps the backbone'),
    (dict(lora=dict(rank=2)), 'lora keeps the backbone, or its first stages, as they start, but')])
def test_what_trains_badly_without_an_error_is_said(labels, changes, words):
    for key, value in changes.items():
        spoil(labels.cfg, **{key: value}) if '__' in key else labels.cfg.__setitem__(key, value)
    check_config(labels.cfg, training=True)
    findings = audit(labels.cfg, progress=False)[1]
    assert findings.counts == {'config-doubtful': 1}
    assert words in findings.examples['config-doubtful'][0]


@pytest.mark.parametrize('changes', [
    dict(model__data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[1.] * 3)),
    dict(model__backbone__frozen_stages=2, init_from='convnext-tiny_in1k'),
    dict(model__backbone__frozen_stages=2, model__backbone__init_cfg=dict(
        type='Pretrained', checkpoint='convnext-tiny_in1k'))])
def test_what_may_be_meant_is_not_doubted(labels, changes):
    spoil(labels.cfg, **changes)
    assert not audit(labels.cfg, progress=False)[1].counts


def test_an_ignored_label_that_is_a_class_is_refused(labels):
    for name in ('train', 'val', 'test'):
        labels.cfg[f'{name}_dataloader'].dataset.ignore_index = 1
    with pytest.raises(InputError, match="ignore_index=1 is the label of the class 'box'|"
                       'ignored label differs'):
        check_config(labels.cfg, training=True)


def test_a_thousand_classes_with_the_ignored_label_255_are_refused(labels):
    classes = tuple(map(str, range(1000)))
    for name in ('train', 'val', 'test'):
        dataset = labels.cfg[f'{name}_dataloader'].dataset
        dataset.metainfo.classes = classes
        dataset.pipeline[1].type = 'convnext_dense.LoadAnnotations'
    for head in ('decode_head', 'auxiliary_head'):
        labels.cfg.model[head].num_classes = 1000
    rng = np.random.default_rng(0)
    for path in labels.root.glob('annotations/*/*.png'):
        values = rng.integers(0, 1000, (24, 32)).astype(np.uint16)
        Image.fromarray(values).save(path)
    with pytest.raises(InputError, match="ignore_index=255 is the label of the class '255'"):
        check_config(labels.cfg, training=True)
    for name in ('train', 'val', 'test'):
        labels.cfg[f'{name}_dataloader'].dataset.ignore_index = 65535
    for head in ('decode_head', 'auxiliary_head'):
        labels.cfg.model[head].ignore_index = 65535
    labels.cfg.val_evaluator.ignore_index = labels.cfg.test_evaluator.ignore_index = 65535
    check_config(labels.cfg, training=True)


def test_a_small_validation_image_is_found_where_the_model_does_not_pad(labels):
    noise_image(0, 32, 20).save(labels.root / 'images/validation/10.jpg')
    Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) % 2, (20, 1))).save(
        labels.root / 'annotations/validation/10.png')
    check_config(labels.cfg, training=True)
    labels.cfg.model.type = 'EncoderDecoder'
    with pytest.raises(InputError, match='10.jpg has 32x20 pixels, less than the stride 32'):
        check_config(labels.cfg, training=True)


def test_more_detections_than_candidates(coco):
    coco.cfg.model = dict(type='DINO', num_queries=30, bbox_head=dict(num_classes=2),
                          test_cfg=dict(max_per_img=300))
    texts = [text for _, text in broken(coco.cfg, [])]
    assert any('max_per_img=300 is more than the 60 candidates of num_queries=30 and 2 classes'
               in text for text in texts)


def test_a_head_that_takes_all_maps_is_asked_for_them_by_its_class(labels):
    head = dict(type='Mask2FormerHead', in_channels=[40, 80, 160, 320], num_classes=2)
    labels.cfg.model.decode_head, labels.cfg.model.auxiliary_head = head, None
    labels.cfg.model.type = 'EncoderDecoder'
    from convnext_dense.checks.model_fit import check_model
    check_model(labels.cfg, [])
    labels.cfg.model.decode_head.in_channels = [96, 192, 384, 768]
    with pytest.raises(InputError, match=r'set it to \[40, 80, 160, 320\]'):
        check_model(labels.cfg, [])


def test_parameters_follow_keyword_arguments_to_the_base():
    class Base:
        def __init__(self, base, *, other=1):
            pass

    class Derived(Base):
        def __init__(self, own, **kwargs):
            pass
    assert parameters(Derived) == ({'own', 'base', 'other'}, True)
    assert parameters(Base) == ({'base', 'other'}, False)
