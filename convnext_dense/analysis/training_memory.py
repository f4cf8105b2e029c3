"""An estimate of the memory that a training step takes, from shapes alone.

Everything runs on torch's meta device: the tensors that autograd keeps for the backward pass are
counted while shapes go through the model.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from convnext_dense.analysis.complexity import build_on_meta, call_heads
from convnext_dense.config_device import is_mixed_precision
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError
from convnext_dense.runtime.trainable_hook import TrainableHook

#: bytes a parameter: float32 weight and gradient, and the optimizer's moments by its type
MOMENTS = {'SGD': 1, 'RMSprop': 1}
STRIDE = 32  # images are padded to a multiple of it
#: share of float32's bytes that kept tensors have in mixed precision: norms stay in float32
AMP_SHARE = .6
#: float32 maps of all classes at full size that a segmenter's loss keeps for a head: the resized
#: logits and their log-softmax
LOSS_MAPS = 2


class TrainingMemory(NamedTuple):
    """Bytes of a training step.

    Attributes:
        state: weights, gradients and the optimizer's moments.
        kept: tensors that are kept for the backward pass.
    """
    state: int
    kept: int

    @property
    def total(self) -> int:
        return self.state + self.kept


def training_size(pipeline: Sequence[Any]) -> tuple[int, int] | None:
    """Height and width in pixels of the largest training image that a pipeline gives.

    Where the pipeline bounds the long and the short side, a landscape image is taken.

    Returns:
        None where no step sets a size.
    """
    size = None
    for step in pipeline:
        steps = list(nested(step))
        scales = [scale for one in steps for scale in _scales(one)]
        if scales:
            long, short = max(scales, key=lambda scale: scale[0] * scale[1])
            size = (short, long)
        for one in steps:
            crop = one.get('crop_size')
            if type_name(one) == 'RandomCrop' and crop and one.get(
                    'crop_type', 'absolute') == 'absolute':
                crop = (crop, crop) if isinstance(crop, int) else crop
                size = tuple(crop) if size is None else (
                    min(size[0], crop[0]), min(size[1], crop[1]))
    return size and (round(size[0]), round(size[1]))


def _scales(step):
    """The (long, short) sides that a resizing step may give."""
    kind = type_name(step) or ''
    scales = step.get('scale') or step.get('scales') or step.get('img_scale')
    if 'Resize' not in kind or not scales:
        return
    scales = [scales] if isinstance(scales[0], (int, float)) else scales
    factor = max(step.get('ratio_range') or (1.,))
    for scale in scales:
        yield max(scale) * factor, min(scale) * factor


def estimate_training_memory(cfg: Config, size: tuple[int, int], batch: int) -> TrainingMemory:
    """Estimate the memory of a training step.

    Not counted are a library's workspaces and the gradients of the activations, of which few live
    at a time.

    Args:
        cfg: an mmdet or mmseg config that :func:`~.complexity.measure_complexity` can count.
        size: height and width of the images in pixels.
        batch: images a step.

    Raises:
        InputError: a model whose parts are not known.
    """
    model: Any = build_on_meta(cfg).train()
    TrainableHook(cfg.get('freeze'), cfg.get('lora')).apply(model)
    height, width = (-(-side // STRIDE) * STRIDE for side in size)
    proposals, masks = sampled_rois(cfg)

    def step() -> None:
        maps = model.backbone(torch.empty(batch, 3, height, width, device='meta'))
        if getattr(model, 'neck', None) is not None:
            maps = model.neck(maps)
        call_heads(model, maps, lambda name, module, *inputs: module(*inputs),
                   proposals * batch, masks * batch)
        if getattr(model, 'auxiliary_head', None) is not None:
            model.auxiliary_head(maps)

    try:
        kept = _kept_bytes(model, step)
    except (NotImplementedError, RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f'the memory cannot be estimated from shapes: {error}') from error
    kept += _loss_bytes(model, batch * height * width)
    if is_mixed_precision(cfg):
        kept = round(kept * AMP_SHARE)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters()
                  if parameter.requires_grad)
    optimizer = type_name((cfg.get('optim_wrapper') or {}).get('optimizer') or {})
    moments = MOMENTS.get(optimizer or '', 2)
    averages = sum('EMAHook' in (type_name(hook) or '') for hook in cfg.get('custom_hooks') or ())
    return TrainingMemory(4 * parameters * (1 + averages) + 4 * trained * (1 + moments), kept)


def _kept_bytes(model: nn.Module, step: Callable[[], None]) -> int:
    """Bytes of the tensors that autograd keeps in ``step()``, parameters and buffers aside."""
    storages: dict[int, torch.UntypedStorage] = {}
    own = {id(tensor.untyped_storage()) for tensor in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            storages[id(storage)] = storage  # held, so that no other gets its id
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(storage.nbytes() for storage in storages.values())


def sampled_rois(cfg: Config) -> tuple[int, int]:
    """RoIs of an image that the box heads and the mask heads train on."""
    rcnn = (cfg.model.get('train_cfg') or {}).get('rcnn') or {}
    rcnn = rcnn[0] if isinstance(rcnn, (list, tuple)) else rcnn
    sampler = rcnn.get('sampler') or {}
    number = sampler.get('num', 512)
    return number, max(round(number * sampler.get('pos_fraction', .25)), 1)


def _loss_bytes(model, pixels):
    """What the losses of a segmenter's heads keep, which work on maps of full size."""
    heads = [getattr(model, name, None) for name in ('decode_head', 'auxiliary_head')]
    return sum(4 * LOSS_MAPS * pixels * getattr(head, 'out_channels', 0)
               for head in heads if head is not None and not isinstance(head, nn.ModuleList))
