"""Which project's model a file holds, and which program saved it, from keys alone."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convnext_dense.checkpoints.formats import Found
from convnext_dense.checkpoints.formats.detrex import SIGNATURE as DETREX
from convnext_dense.checkpoints.sharded import NAMES

#: whose names a format's are
_PROJECTS = {
    'official': 'the official ConvNeXt release', 'fcmae': "ConvNeXt V2's pre-training",
    'timm': 'timm', 'timm-features': 'timm', 'torchvision': 'torchvision',
    'transformers': 'transformers', 'transformers-dinov3': "transformers' DINOv3",
    'mmpretrain': 'mmpretrain', 'swin': 'the official Swin release',
    'swin-openmmlab': 'mmdet and mmseg', 'resnet': 'torchvision'}

#: what transformers' Trainer writes beside the weights
_TRAINER = ('trainer_state.json', 'training_args.bin')


def project_of(state: Mapping[str, Any], found: Found | None) -> str | None:
    """Whose model it is; None where the format is not known.

    Args:
        state: names (and tensors) of the file.
        found: what :func:`recognise` said of them.
    """
    if found is None:
        return None
    inside = [key[len(found.prefix):] for key in state if key.startswith(found.prefix)]
    if found.prefix.endswith('visual.trunk.'):
        return 'OpenCLIP'
    if found.root + DETREX in state:
        return "detrex's DINO"
    if any(key.startswith('projectors.') for key in inside):
        return 'EUPE'
    if 'norms.3.weight' in inside:
        return "DINOv3's release"
    return _PROJECTS[found.format.name]


def program_of(checkpoint: Mapping[str, Any], path: Path | None = None) -> str | None:
    """The program that saved a file, where it or what lies beside it says so.

    Args:
        checkpoint: what was saved.
        path: the file, or its folder.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    if 'convnext_dense' in checkpoint or 'key_format' in meta:
        return 'this toolkit'
    if 'pytorch-lightning_version' in checkpoint:
        return f'Lightning {checkpoint["pytorch-lightning_version"]}'
    for name in ('mmengine', 'mmdet', 'mmseg', 'mmcv'):
        if f'{name}_version' in meta:
            return f'{name} {meta[f"{name}_version"]}'
    if {'model', 'iteration'} <= set(checkpoint):
        return 'detectron2'
    if path and (path.is_dir() or path.name in NAMES):
        folder = path if path.is_dir() else path.parent
        if any((folder / name).is_file() for name in _TRAINER):
            return 'Hugging Face Trainer'
    return None
