"""Tiny backbones and files of every format for the tests of this folder."""
import torch
from torch import nn

from convnext_dense.checkpoints.formats import FORMATS, from_official
from convnext_dense.models import ConvNeXt

DEPTHS, CHANNELS, CLASSES = (1, 2, 3, 1), (8, 16, 24, 32), 10
CONVNEXT_FORMATS = [name for name, fmt in FORMATS.items() if fmt.family == 'convnext']
VERSIONS = ('v1', 'v2')


def convnext(version='v1', **kwargs):
    """This project's backbone."""
    return ConvNeXt(arch=dict(depths=DEPTHS, channels=CHANNELS), use_grn=version == 'v2',
                    layer_scale_init_value=0 if version == 'v2' else 1e-6, **kwargs).eval()


def randomise(module, seed=0):
    """Give every parameter values that matter to the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            scale = name.endswith(('norm.weight', 'gamma', 'layer_scale', '1.weight'))
            parameter.copy_(values * .2 + (1 if scale and parameter.ndim == 1 else 0))
    module.eval()  # returns None for some of OpenMMLab's backbones
    return module


def official_state(version='v1', seed=0):
    """A classification model in the official layout: no output norms, but a norm and a head."""
    model = randomise(convnext(version), seed)
    state = {key: value.clone() for key, value in model.state_dict().items()
             if not key.startswith('norm')}
    head = randomise(nn.ModuleDict(dict(norm=nn.LayerNorm(CHANNELS[-1]),
                                        head=nn.Linear(CHANNELS[-1], CLASSES))), seed)
    return {**state, **head.state_dict()}


def convnext_file(name, version='v1', seed=0):
    """The same model in the layout of the format ``name``."""
    state = official_state(version, seed)
    return from_official(state, FORMATS[name], FORMATS[name].prefix(state))


def swin(**kwargs):
    """mmdet's Swin, which mmseg's equals."""
    from convnext_dense.registry import MODELS
    return MODELS.build(dict(dict(
        type='convnext_dense.SwinTransformer', embed_dims=8, depths=(1, 2), num_heads=(1, 2),
        strides=(4, 2), out_indices=(0, 1), window_size=3), **kwargs))


class Detector(nn.Module):
    """The names of a detector without its weight."""

    def __init__(self, backbone, classes=4):
        super().__init__()
        self.backbone = backbone
        self.neck = nn.Conv2d(8, 8, 1)
        self.roi_head = nn.ModuleDict(dict(bbox_head=nn.ModuleDict(dict(
            fc_cls=nn.Linear(8, classes)))))
