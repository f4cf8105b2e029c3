"""The text of a config: short, commented, derived from one of the package."""
from __future__ import annotations

import pprint
import textwrap
from collections.abc import Sequence

from convnext_dense.planning.facts import DataFacts
from convnext_dense.planning.policy import Plan
from convnext_dense.wording import counted

_HEAD = '''"""{title}

Written by `convnext-dense new`. Paths begin at this file's folder, so it can be moved as a whole.
"""
_base_ = 'convnext_dense::{config}'

data_root = '{{{{ fileDirname }}}}/data/'
work_dir = '{{{{ fileDirname }}}}/work_dir'
# all data sets and heads follow it
classes = {classes}

# Size: {size}.
scale = {scale}{crop}
# Batch: {batch}.
batch_size = {batch_size}
# Learning rate: {lr_reason}.
lr = {lr}
auto_scale_lr = dict(base_batch_size=batch_size)
# Schedule: {schedule}.
max_iters = {max_iters}
# Weights: {weights}.
# Model: {model}.
model = dict({model_code})

train_pipeline = [
    dict(type='LoadImageFromFile'),
{train_pipeline}
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
{test_pipeline}
]
train_dataloader = dict(
    batch_size=batch_size, num_workers={workers}{persistent},
    dataset=dict(data_root=data_root,{suffix} pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(data_root=data_root,{suffix} pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict({test}data_root=data_root,{suffix} pipeline=test_pipeline))
{evaluators}
train_cfg = dict(max_iters=max_iters, val_interval={val_interval})
{schedule_code}
default_hooks = dict(checkpoint=dict(interval={val_interval}))
'''
_TITLES = {'masks': 'Boxes and masks', 'boxes': 'Boxes', 'labels': 'Label maps'}


def config_text(plan: Plan, data: DataFacts, classes: Sequence[str],
                img_suffix: str = '.jpg') -> str:
    """The config of a plan.

    Args:
        plan: the choices.
        data: facts about the data.
        classes: names in label order.
        img_suffix: of the images of a label-map data set.
    """
    labels = data.task == 'labels'
    title = f'{_TITLES[data.task]} of {counted(data.classes, "class", "classes")} from ' \
            f'{counted(data.train, "training image")}' + (
                f' ({counted(data.objects, "object")} in all).' if data.objects else '.')
    reasons = {key: _comment(text) for key, text in plan.reasons.items()}
    text = _HEAD.format(
        title=title, config=plan.config, classes=_tuple(classes),
        size=reasons['size'], scale=plan.scale, batch=reasons['batch'],
        crop=f'  # long and short side\ncrop = {plan.crop}  # height and width' if labels else
        '  # long and short side',
        batch_size=plan.batch, lr_reason=reasons['lr'], lr=plan.lr,
        schedule=reasons['schedule'], max_iters=plan.max_iters, weights=reasons['weights'],
        model=reasons['model'], model_code=_model(plan, labels),
        train_pipeline=_label_training(plan) if labels else _detector_training(data),
        test_pipeline=_label_testing() if labels else _detector_testing(),
        workers=plan.workers, persistent=', persistent_workers=True' if plan.workers else '',
        suffix=f" img_suffix='{img_suffix}'," if labels and img_suffix != '.jpg' else '',
        test=_test_set(data), evaluators='' if labels else _evaluators(data),
        val_interval=plan.val_interval, schedule_code=_schedule(plan))
    return text


def _comment(text, width=96):
    """A reason on comment lines; the first is shorter, as its topic stands before it."""
    return '\n# '.join(textwrap.wrap(text, width - 16))


def _tuple(classes):
    return pprint.pformat(tuple(classes), width=86, compact=True).replace('\n', '\n' + 10 * ' ')


def _model(plan, labels):
    init = '' if plan.weights is None else \
        f", init_cfg=dict(type='Pretrained', checkpoint={plan.weights!r})"
    backbone = f"backbone=dict(arch='{plan.arch}'{init})"
    parts = ['data_preprocessor=dict(size=crop)'] * labels + [backbone]
    return '\n    ' + ',\n    '.join(parts)


def _detector_training(data):
    masks = data.task == 'masks'
    return f'''    dict(type='LoadAnnotations', with_bbox=True, with_mask={masks}),
    # augmentation: sizes from 3/4 to 5/4, mirror images, brightness and colour
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),'''


def _detector_testing():
    return '''    dict(type='Resize', scale=scale, keep_ratio=True),
    # after the resize: the ground truth keeps the image's own size
    _base_.load,
    _base_.pack,'''


def _label_training(plan):
    return '''    dict(type='LoadAnnotations'),
    # augmentation: sizes from 3/4 to 3/2, crops, mirror images, brightness and colour
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.95),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),'''


def _label_testing():
    return '''    dict(type='Resize', scale=scale, keep_ratio=True),
    # after the resize: the ground truth keeps the image's own size
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),'''


def _test_set(data):
    if not data.test:
        return ''
    if data.task == 'labels':
        return ("data_prefix=dict(img_path='images/test', seg_map_path='annotations/test'),\n"
                '        ')
    return "ann_file='annotations/test.json', data_prefix=dict(img='test/'),\n        "


def _evaluators(data):
    test = 'test' if data.test else 'val'
    return (f"val_evaluator = dict(ann_file=data_root + 'annotations/val.json')\n"
            f"test_evaluator = dict(ann_file=data_root + 'annotations/{test}.json')\n")


def _schedule(plan):
    if plan.config.endswith('atto.py'):
        rise = 0.1 if plan.max_iters > 10 else 0.3  # a tenth of ten steps would be none
        return f'''optim_wrapper = dict(optimizer=dict(lr=lr))
# up in the first part, then down to nothing
param_scheduler = [
    dict(type='OneCycleLR', eta_max=lr, total_steps=max_iters, pct_start={rise}, by_epoch=False)]'''
    warm_up = max(min(plan.max_iters // 20, 500), 1)
    return f'''optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end={warm_up}),
    dict(type='CosineAnnealingLR', by_epoch=False, begin={warm_up}, end=max_iters,
         T_max=max_iters - {warm_up}, eta_min_ratio=0.01)]'''
