"""Prepared models of the heads of today give the losses, gradients and results of stock parts."""
import copy

import pytest
import torch
from config_files import FILES
from mmengine.registry import MODELS, init_default_scope
from test_config_runs import SMALL
from test_head_runs import ROWS, shrink_head

from convnext_dense.acceleration import prepare
from convnext_dense.analysis.random_batch import random_batch
from convnext_dense.config import load_config, set_device
from convnext_dense.config_nodes import nested

SIZE = (64, 96)
STOCK = {f'convnext_dense.{name}': name for name in (
    'Mask2Former', 'Mask2FormerHead', 'MaskFormerFusionHead')} | {
    'convnext_dense.SegMask2FormerHead': 'Mask2FormerHead',
    'convnext_dense.CrossEntropyLossCost': 'mmdet.CrossEntropyLossCost',
    'convnext_dense.EncoderDecoder': 'EncoderDecoder'}


def small(kind):
    cfg = load_config(str(FILES[ROWS[kind]]))
    set_device(cfg, 'cpu')
    cfg.model.backbone.update(arch=SMALL, init_cfg=None, drop_path_rate=0.)
    cfg.model.data_preprocessor.pop('batch_augments', None)
    if kind == 'semantic':
        cfg.model.data_preprocessor.size = SIZE
    shrink_head(cfg, SMALL['channels'])
    return cfg


def stock(cfg):
    cfg = copy.deepcopy(cfg)
    changed = 0
    for node in nested(cfg.model):
        if node.get('type') in STOCK:
            node.type = STOCK[node.type]
            changed += 1
    assert changed or cfg.model.type == 'DINO'
    return cfg


def models(kind, mode):
    """The prepared model of a config and, with the same weights, one of stock parts."""
    cfg = small(kind)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    theirs = MODELS.build(stock(cfg).model)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name == 'level_embed':  # of memory as it was, until mmdet draws its first weights
                parameter.normal_()
            if parameter.ndim == 2:  # layers that begin with zeros, scores that differ clearly
                parameter.add_(torch.randn_like(parameter) * (.3 if 'cls_' in name else .03))
    ours = MODELS.build(cfg.model)
    ours.load_state_dict(theirs.state_dict())
    theirs.train(mode == 'train')
    ours.train(mode == 'train')
    assert '1 deformable attentions' in prepare(ours, mode) or kind == 'dino'
    return cfg, ours, theirs


KINDS = ['dino', 'semantic', 'instances', 'panoptic']


@pytest.mark.parametrize('kind', KINDS)
def test_losses_and_gradients_equal_those_of_stock_parts(kind):
    cfg, *pair = models(kind, 'train')
    both = []
    for model in pair:
        data = model.data_preprocessor(random_batch(cfg, SIZE, 2), True)
        torch.manual_seed(1)
        loss, losses = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        both.append({**{name: value.detach() for name, value in losses.items()},
                     **{name: parameter.grad for name, parameter in model.named_parameters()
                        if parameter.grad is not None}})
    assert both[0].keys() == both[1].keys() and len(both[0]) > 80
    for name, expected in both[1].items():  # norms: a ReLU near 0 may let another value through
        assert (both[0][name] - expected).norm() <= 1e-3 * expected.norm() + 1e-6, name


@pytest.mark.parametrize('kind', KINDS)
@torch.inference_mode()
def test_results_equal_those_of_stock_parts(kind):
    cfg, *pair = models(kind, 'infer')
    ours, theirs = (model.test_step(random_batch(cfg, SIZE, 2)) for model in pair)
    for found, expected in zip(ours, theirs, strict=True):
        if kind == 'semantic':
            found, expected = (one.pred_sem_seg.data for one in (found, expected))
            assert (found != expected).float().mean() <= .001
            continue
        if kind == 'panoptic':
            panoptic = [one.pred_panoptic_seg.sem_seg for one in (found, expected)]
            assert (panoptic[0] != panoptic[1]).float().mean() <= .001
        found, expected = found.pred_instances, expected.pred_instances
        assert len(found) == len(expected) > 0 and torch.equal(found.labels, expected.labels)
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
        if kind == 'dino':
            torch.testing.assert_close(found.bboxes, expected.bboxes, rtol=1e-4, atol=1e-2)
        else:
            assert (found.masks != expected.masks).float().mean() <= .001
