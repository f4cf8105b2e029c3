"""Rows: bfloat16 on a CPU, testing and training, beside float32 and plain autocast.

The bars are of CPUs with units for bfloat16 matrices (AMX); without them ``--amp`` stays off.
"""
from functools import partial

import torch

from benchmarks import rows_inference, rows_training
from benchmarks.measuring import Differs
from benchmarks.rows import Side, row

#: share of an image's labels that rounding to 8 bits may change where random weights decide
OTHER_LABELS = .05


def inference(name, size, **settings):
    """A test step of the model prepared with these settings."""
    model = partial(rows_inference.ours, **settings)
    return Side(rows_inference.side(model, name, size).step)


def autocast(name, size):
    """A test step as torch's autocast alone gives it."""
    return Side(torch.autocast('cpu', torch.bfloat16)(inference(name, size, forms=False).step))


def compare_labels(ours, theirs):
    """Label maps of which few pixels differ."""
    share = float((ours.pred_sem_seg.data != theirs.pred_sem_seg.data).float().mean())
    if share > OTHER_LABELS:
        raise Differs(f'{share:.2%} of the labels')
    return f'{share:.3%} of the labels differ'


def compare_numbers(ours, theirs):
    """Detections of random weights change their order under rounding: how many there are."""
    ours, theirs = len(ours.pred_instances), len(theirs.pred_instances)
    if abs(ours - theirs) > .2 * theirs:
        raise Differs(f'{ours} and {theirs} detections')
    return f'{ours} and {theirs} detections'


def inference_sides(name, size):
    return {'ours': partial(inference, name, size, bfloat16=True),
            'float32, as prepared': partial(inference, name, size)}


def training_sides(name):
    kind = 'convnext_dense.Bfloat16OptimWrapper'
    return {'ours': partial(rows_training.side, name, wrapper=kind, float32_predictions=True),
            'float32, as prepared': partial(rows_training.side, name)}


@row('upernet-inference-bfloat16', 'UperNet ConvNeXt-T in bfloat16, inference of 512x512',
     peer='float32, as prepared', bar=3., compare=compare_labels)
def upernet_inference():
    size = 512, 512
    return {**inference_sides(rows_inference.UPERNET, size),
            'torch, autocast': partial(autocast, rows_inference.UPERNET, size)}


@row('cascade-inference-bfloat16',
     'Cascade Mask R-CNN ConvNeXt-T in bfloat16, inference of 480x640', peer='float32, as prepared',
     bar=3., compare=compare_numbers)
def cascade_inference():
    # torch's autocast alone fails: mmcv's NMS takes no bfloat16
    return inference_sides(rows_inference.CASCADE, (480, 640))


@row('upernet-training-bfloat16',
     'UperNet ConvNeXt-T in bfloat16, training step, 2 x 512x512', peer='float32, as prepared',
     bar=1.8, tolerance=.05)
def upernet_training():
    return training_sides(rows_training.UPERNET)


@row('cascade-training-bfloat16',
     'Cascade Mask R-CNN in bfloat16, training step of the Penn-Fudan example',
     peer='float32, as prepared', tolerance=.1)
def cascade_training():
    return training_sides(rows_training.PENNFUDAN)
