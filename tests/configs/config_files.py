"""The config files, read once, and their models on the meta device, which costs no memory."""
import re
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch.overrides import TorchFunctionMode

from convnext_dense.config import load_config
from convnext_dense.published import published_row

ROOT = Path(__file__).parents[2] / 'configs'
#: what the papers of ConvNeXt, ConvNeXt V2 and Swin train, and the heads and recipes of today
PAPERS, TODAY = ('mask_rcnn', 'cascade_mask_rcnn', 'upernet'), (
    'dino', 'mask2former', 'rtmdet', 'faster_rcnn', 'cascade_rcnn', 'linear')
FILES = {path.stem: path for folder in (*PAPERS, *TODAY)
         for path in sorted((ROOT / folder).glob('*.py'))}
NEWER = [name for name, path in FILES.items() if path.parent.name in TODAY or re.search(
    '-1x_|-lsj-|_cityscapes|_voc|-dinov3_|-clip_', name)]
NAMES = [name for name in FILES if name not in NEWER]
COCO = [name for name in NAMES if name.endswith('_coco')]
ADE20K = [name for name in NAMES if '_ade20k-' in name]
V2 = [name for name in NAMES if 'convnextv2' in name]
CONVNEXT = [name for name in NAMES if 'convnext-' in name]
SWIN = [name for name in NAMES if '_swin-' in name]
RESNET = [name for name in NAMES if '_r50_' in name or '_x101-' in name]


@cache
def config(name):
    """The config of a file's stem; do not change it."""
    return load_config(str(FILES[name]))


def row(name):
    """The published row of a config."""
    return published_row(config(name).published)


class _LinspaceOnCPU(TorchFunctionMode):
    """Lets mmdet's Swin read its drop path rates while a model is built on the meta device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {}, **({'device': 'cpu'} if function is torch.linspace else {}))
        return function(*args, **kwargs)


def build_on_meta(cfg):
    """The model of a config without memory for its parameters."""
    import_module(f'{cfg.default_scope}.models')
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'), \
            _LinspaceOnCPU():
        return MODELS.build(deepcopy(cfg.model))  # mmdet adds settings to it


@cache
def meta_model(name):
    """The model of a file's stem on the meta device; do not change it."""
    return build_on_meta(config(name))


def peer_config(package, path):
    """A config that mmdet or mmseg ships."""
    root = Path(import_module(package).__file__).parent / '.mim' / 'configs'
    return Config.fromfile(root / path, import_custom_modules=False)
