"""Rows: DINO and Mask2Former, inference and training steps, against stock mmdet.

The weights are those that a training begins with, but for layers that begin with zeros, which are
random, and for DINO's query embeddings, which are alike, so that two proposals of nearly one score
may change places. Detections are matched by label, box and score, not by their order, for the same
reason. Mask2Former looks at the pixels whose mask logit is at least 0: results are compared with
the same pixels for both sides, and how many differ is said.
"""
import copy
import logging
from functools import cache, partial

import torch

from benchmarks import rows_inference, rows_training
from benchmarks.measuring import Differs
from benchmarks.rows import Side, row

DINO = 'dino/dino-4scale_convnext-t_8xb2-12e_coco.py'
MASK2FORMER = 'mask2former/mask2former_convnext-t_8xb2-lsj-50e_coco.py'
INFERENCE, TRAINING = (480, 640), (320, 320)
TOLERANCE = 1e-4
SEEN: list = []  # attention masks of the first side of Mask2Former that is compared


def config(name):
    """A recipe for a CPU, without drop path; images keep their size."""
    cfg = rows_inference.config(name)
    cfg.model.backbone.drop_path_rate = 0.
    cfg.model.data_preprocessor.pop('batch_augments', None)
    return cfg


@cache
@torch.no_grad()
def state(name):
    """The weights of all sides."""
    torch.manual_seed(0)
    model = rows_inference.build(config(name))
    logging.disable(logging.INFO)  # a line for each parameter
    model.init_weights()
    logging.disable(logging.NOTSET)
    for parameter in model.parameters():
        if parameter.ndim == 2 and not parameter.any():
            parameter.normal_(std=.02)
    if name == DINO:
        model.query_embedding.weight[:] = model.query_embedding.weight[:1].clone()
    else:
        model.panoptic_head.cls_embed.weight.normal_(std=.2)  # scores that differ clearly
    return model.state_dict()


def model(name, stock, mode):
    """The model and its config, prepared if it is ours."""
    from convnext_dense.acceleration import prepare
    from convnext_dense.checkpoints import load_weights
    cfg = rows_inference.stock(config(name)) if stock else config(name)
    built = rows_inference.build(cfg)
    load_weights(built, dict(state_dict=state(name)))
    if not stock:
        prepare(built, mode)
    return built, cfg


def inference(name, stock=False):
    built, _ = model(name, stock, 'infer')
    data = rows_inference.batch(name, INFERENCE, INFERENCE)

    def step():
        with torch.inference_mode():
            return built.test_step(copy.deepcopy(data))[0].pred_instances
    return Side(step, None if name == DINO else partial(same_attention, built, step, SEEN))


def same_attention(built, step, seen):
    """What a step gives, with the attention masks that the first side to be compared had.

    Returns:
        tuple: the instances, how many pixels this side would leave out or not otherwise than the
        first one, and how many there are.
    """
    head, expected = built.panoptic_head, iter(list(seen))
    forward, different, number = head._forward_head, 0, 0

    def forward_head(*args):
        nonlocal different, number
        scores, masks, hidden = forward(*args)
        one = hidden.view(-1, *hidden.shape[-2:])[0]
        first = next(expected, None)
        if first is None:
            seen.append(one)
            return scores, masks, hidden
        different, number = different + int((one != first).sum()), number + one.numel()
        return scores, masks, first.expand_as(hidden)

    object.__setattr__(head, '_forward_head', forward_head)
    try:
        return step(), different, number
    finally:
        object.__delattr__(head, '_forward_head')


def training(name, stock=False):
    from convnext_dense.analysis.random_batch import random_batch
    built, cfg = model(name, stock, 'train')
    built.train()
    optimizer = rows_training.build_optimizer(built, cfg)
    data = random_batch(cfg, TRAINING, 2)

    def step():
        torch.manual_seed(0)
        built.train_step(copy.deepcopy(data), optimizer)

    return Side(step, partial(rows_training.losses_and_gradient, built, optimizer, data))


def sides(builder, name):
    return {'ours': partial(builder, name), 'stock mmdet': partial(builder, name, stock=True)}


# --- comparing ----------------------------------------------------------------------------------

def compare_masks(ours, theirs):
    (ours, *_), (theirs, different, number) = ours, theirs
    return (f'{compare_detections(ours, theirs)}; {different} of {number} pixels of attention '
            'masks differ')


def compare_detections(ours, theirs):
    """The same detections, matched by label, box and score, but for those of nearly the least
    score; masks equal but for pixels on their borders."""
    if len(ours) != len(theirs) or not len(ours):
        raise Differs(f'{len(ours)} and {len(theirs)} detections')
    values = [torch.cat([one.bboxes / theirs.bboxes.abs().max(),
                         one.scores[:, None] / theirs.scores.max()], dim=1)
              for one in (ours, theirs)]
    distance = torch.cdist(*values, p=torch.inf)
    distance[ours.labels[:, None] != theirs.labels] = torch.inf
    nearest, places = distance.min(0)
    found = nearest <= TOLERANCE
    missing = theirs.scores[~found]
    if (missing > theirs.scores.min() + TOLERANCE * theirs.scores.max()).any():
        raise Differs(f'{len(missing)} detections are not found, the nearest one is '
                      f'{nearest.max():.2g} away')
    line = (f'{int(found.sum())} of {len(theirs)} detections, boxes and scores within '
            f'{nearest[found].max():.1e} of the largest')
    if 'masks' not in theirs:
        return line
    different = int((ours.masks[places[found]] != theirs.masks[found]).sum())
    if different > TOLERANCE * theirs.masks.numel():
        raise Differs(f'{different} of {theirs.masks.numel()} mask pixels')
    return f'{line}; {different} of {int(theirs.masks.sum())} mask pixels differ'


# --- rows ---------------------------------------------------------------------------------------

@row('dino-inference', 'DINO ConvNeXt-T, inference of 480x640', peer='stock mmdet', bar=1.5,
     compare=compare_detections)
def dino_inference():
    return sides(inference, DINO)


@row('dino-training', 'DINO ConvNeXt-T, training step, 2 x 320x320', peer='stock mmdet', bar=1.5,
     tolerance=1e-3)
def dino_training():
    return sides(training, DINO)


@row('mask2former-inference', 'Mask2Former ConvNeXt-T, inference of 480x640', peer='stock mmdet',
     bar=1.5, compare=compare_masks)
def mask2former_inference():
    return sides(inference, MASK2FORMER)


@row('mask2former-training', 'Mask2Former ConvNeXt-T, training step, 2 x 320x320',
     peer='stock mmdet', bar=1.5, tolerance=1e-3)
def mask2former_training():
    return sides(training, MASK2FORMER)


LEVELS = [(60, 80), (30, 40), (15, 20), (8, 10)]


def deformable_attention(stock=False):
    """Samples of a pyramid around each of its cells: 8 heads of 32 channels, 4 levels, 4 points."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    from convnext_dense.acceleration.cpu.deformable_attention import weighted_samples
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor(LEVELS)
    centres = torch.cat([torch.cartesian_prod((torch.arange(height) + .5) / height,
                                              (torch.arange(width) + .5) / width).flip(1)
                         for height, width in LEVELS])
    shape = 1, len(centres), 8, 4, 4
    offsets = torch.randn(*shape, 2, generator=generator) * 2 / sizes.flip(1)[:, None]
    weights = torch.rand(shape, generator=generator)
    tensors = [tensor.requires_grad_() for tensor in (
        torch.randn(1, len(centres), 8, 32, generator=generator),
        centres[:, None, None, None] + offsets, weights / weights.sum((3, 4), keepdim=True))]
    grad = torch.randn(1, len(centres), 256, generator=generator)

    def step():
        value, places, factors = tensors
        if stock:
            output = multi_scale_deformable_attn_pytorch(value, sizes, places, factors)
        else:
            output = weighted_samples(value, LEVELS, places * sizes.flip(1)[:, None], factors)
        return output, torch.autograd.grad(output, tensors, grad)

    def outputs():
        output, gradients = step()
        return dict(zip(('output', 'value', 'places', 'weights'), (output.detach(), *gradients)))
    return Side(step, outputs)


@row('deformable-attention', 'deformable attention, forward and backward, pyramid of 480x640',
     peer='mmcv', tolerance=1e-5)
def deformable_attention_row():
    return {'ours': deformable_attention, 'mmcv': partial(deformable_attention, stock=True)}
