"""Heads under autocast give float32 to losses and decoding, their layers stay in 16 bits."""
import pytest
import torch
from torch import nn

from convnext_dense.acceleration.float32_predictions import predict_in_float32


class Head(nn.Module):
    """Called as a module, like a head of mmdet."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        self.inner = self.layer(x)
        return (self.inner, [self.inner, None])

    def loss_by_feat(self):
        pass


class DecodeHead(nn.Module):
    """Only its last layer is called as a module, like that of a head of mmseg."""

    def __init__(self):
        super().__init__()
        self.conv_seg = nn.Conv2d(4, 2, 1)

    def loss_by_feat(self):
        pass


@pytest.fixture
def model():
    model = nn.Module()
    model.neck, model.bbox_head, model.decode_head = nn.Linear(4, 4), Head(), DecodeHead()
    return model


def test_predictions_are_float32_and_the_layers_before_them_16_bit(model):
    for _ in range(2):  # a second time changes nothing
        assert predict_in_float32(model) == ['bbox_head', 'decode_head.conv_seg']
    assert len(model.bbox_head._forward_hooks) == 1
    with torch.autocast('cpu', torch.bfloat16):
        first, (second, none) = model.bbox_head(torch.randn(1, 4))
        assert first.dtype == second.dtype == torch.float32 and none is None
        assert model.bbox_head.inner.dtype == torch.bfloat16
        assert model.decode_head.conv_seg(torch.randn(1, 4, 3, 3)).dtype == torch.float32
        assert model.neck(torch.randn(1, 4)).dtype == torch.bfloat16


def test_gradients_flow_through(model):
    predict_in_float32(model)
    with torch.autocast('cpu', torch.bfloat16):
        prediction = model.bbox_head(torch.randn(1, 4))[0]
    prediction.square().sum().backward()
    assert model.bbox_head.layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('path, names', [
    ('cascade_mask_rcnn/cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py',
     ['rpn_head', *(f'roi_head.bbox_head.{stage}' for stage in range(3)),
      *(f'roi_head.mask_head.{stage}' for stage in range(3))]),
    ('upernet/upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py',
     ['decode_head.conv_seg', 'auxiliary_head.conv_seg'])])
def test_all_heads_of_the_recipes_are_found(path, names):
    from pathlib import Path

    from mmengine.registry import MODELS, init_default_scope

    from convnext_dense.config import load_config, set_device
    cfg = load_config(str(Path(__file__).parents[2] / 'configs' / path))
    set_device(cfg, 'cpu')
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        assert predict_in_float32(MODELS.build(cfg.model)) == names
