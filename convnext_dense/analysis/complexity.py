"""Parameters and multiply-adds of a detector or segmenter, part by part.

Everything runs on torch's meta device: shapes without values, so that an image of any size
costs no time and no memory.

The papers' figures follow from one convention, which reproduces 26 of their 28 rows to the last
digit and the other two to 0.06 %: the counter that OpenMMLab's tools used (mmcv's hooks on
modules: convolutions with their biases, linear layers, norms, ReLU and pooling), plus the products
inside attention, which those hooks cannot see; the figures of Swin-L alone lack the latter. Box
heads run on 1000 proposals and mask heads on 100. RoIAlign, NMS and a segmenter's auxiliary head
(training only) count nothing, nor does the sampling of deformable attention. Heads of DINO and
Mask2Former look at places that depend on values: they run on the CPU, on zeros.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from convnext_dense.analysis.transformer_heads import call_transformer, has_transformer
from convnext_dense.config_nodes import type_name
from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

PROPOSALS = 1000
MASKS = 100
COCO_SIZE = (800, 1280)  # height, width in pixels
PARTS = ('backbone', 'neck', 'rpn_head', 'box_head', 'mask_head', 'decode_head',
         'auxiliary_head')
ACTIVATION_PRODUCTS = ('bmm', 'baddbmm', '_scaled_dot_product')


@dataclass
class Part:
    """Parameters and multiply-adds of one part of a model.

    Attributes:
        params (int): parameters.
        macs (int): multiply-adds by the papers' convention.
        products (int): those of convolutions and matrix products alone, attention included, as
            torch's ``FlopCounterMode`` finds them (a multiply-add is two of its operations).
        attention (int): the share of products of two activations, which mmcv does not count.
    """
    params: int = 0
    macs: int = 0
    products: int = 0
    attention: int = 0

    @property
    def mmcv(self) -> int:
        """Multiply-adds as mmcv's counter has them."""
        return self.macs - self.attention

    def __add__(self, other):
        return Part(self.params + other.params, self.macs + other.macs,
                    self.products + other.products, self.attention + other.attention)


@dataclass
class Complexity:
    """What :func:`measure_complexity` found: parts by name, and the convention they follow."""
    size: tuple  # height, width in pixels
    proposals: int
    masks: int
    parts: dict = field(default_factory=dict)

    @property
    def total(self) -> Part:
        return sum(self.parts.values(), Part())

    @property
    def heads(self) -> Part:
        return sum((part for name, part in self.parts.items() if name.endswith('head')), Part())

    @property
    def convention(self) -> str:
        """The convention in one line."""
        height, width = self.size
        line = f'one image of {width}x{height}'
        if 'rpn_head' in self.parts:
            line += f', box heads on {self.proposals} proposals'
        if 'mask_head' in self.parts:
            line += f', mask heads on {self.masks}'
        return line + '; a multiply-add is one operation, attention included'

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return dict(size=list(self.size), proposals=self.proposals, masks=self.masks,
                    convention=self.convention, total=asdict(self.total),
                    heads=asdict(self.heads),
                    parts={name: asdict(part) for name, part in self.parts.items()})


class _MetaParameters(TorchFunctionMode):
    """Create parameters and buffers on the meta device.

    ``with torch.device('meta')`` would do, but Swin and ResNeSt read numbers back from
    ``torch.linspace`` while they are built.
    """
    FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in self.FACTORIES and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config without values: shapes only, in evaluation mode.

    Args:
        cfg (Config): an mmdet or mmseg config with ``model`` and ``default_scope``.
    """
    import copy

    from mmengine.registry import MODELS, init_default_scope
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.pop('init_cfg', None)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with _MetaParameters():
        model = MODELS.build(model_cfg)
    return model.to('meta').eval()


def published_size(cfg: Config) -> tuple[int, int]:
    """Height and width in pixels at which the papers count this kind of model.

    1280x800 for detectors. A segmenter that is trained on crops of c pixels is counted on an
    image of c x 4c: 2048x512, or 2560x640.
    """
    if 'EncoderDecoder' not in (type_name(cfg.model) or ''):
        return COCO_SIZE
    crop = cfg.get('crop_size') or (cfg.model.get('data_preprocessor') or {}).get('size') or \
        (cfg.model.get('test_cfg') or {}).get('crop_size')
    if not crop:
        raise InputError('complexity: the segmenter\'s config has no crop_size, from which the '
                         'published image size follows (2048x512 for 512); give --size')
    return (min(crop), 4 * min(crop))


def measure_complexity(model: nn.Module, size: tuple[int, int], proposals: int = PROPOSALS,
                       masks: int = MASKS) -> Complexity:
    """Count a model part by part.

    Args:
        model (nn.Module): a two-stage, one-stage or DETR-like detector, a Mask2Former, or an
            encoder-decoder segmenter, on the meta device (see :func:`build_on_meta`).
        size (tuple[int, int]): height and width of the one image, in pixels.
        proposals (int): RoIs that each box head sees.
        masks (int): RoIs that each mask head sees.

    Returns:
        Complexity: parts that the model lacks are left out.

    Raises:
        InputError: a model of another kind, or an operator that does not run on shapes alone.
    """
    result = Complexity(tuple(size), proposals, masks)
    parts = result.parts

    def count(name, module, *inputs):
        counted, outputs = _count_call(module, inputs)
        parts[name] = parts.get(name, Part()) + counted
        return outputs

    try:
        maps = count('backbone', model.backbone, torch.empty(1, 3, *size, device='meta'))
        if getattr(model, 'neck', None) is not None:
            maps = count('neck', model.neck, maps)
        if has_transformer(model):
            call_transformer(model, maps, size, count)
        else:
            call_heads(model, maps, count, proposals, masks)
    except NotImplementedError as error:
        raise InputError('complexity: an operator of the model has no meta kernel, so it '
                         f'cannot be counted without values: {str(error).splitlines()[0]}'
                         ) from error
    except TypeError as error:  # a head that asks for more than feature maps
        raise InputError(f'complexity: a head of {type(model).__name__} does not run on feature '
                         f'maps alone: {str(error).splitlines()[0]}') from error
    if getattr(model, 'auxiliary_head', None) is not None:
        parts['auxiliary_head'] = Part(params=_parameters(model.auxiliary_head))
    missing = _parameters(model) - result.total.params
    if missing:
        parts['other'] = Part(params=missing)
    return result


def call_heads(model: Any, maps: Any, call: Callable, proposals: int, masks: int) -> None:
    """Run the heads of a model on the meta device.

    Args:
        model (nn.Module): see :func:`measure_complexity`.
        maps (Sequence[Tensor]): feature maps.
        call (Callable): ``call(name of the part, module, *inputs)`` returns the module's outputs.
        proposals, masks (int): RoIs of each box head and mask head.
    """
    if hasattr(model, 'decode_head'):
        for head in _as_list(model.decode_head):
            call('decode_head', head, maps)
    elif hasattr(model, 'roi_head'):
        if getattr(model, 'rpn_head', None) is not None:
            call('rpn_head', model.rpn_head, maps)
        _call_roi_heads(model.roi_head, call, proposals, masks)
    elif hasattr(model, 'bbox_head') and not hasattr(model, 'encoder'):
        call('box_head', model.bbox_head, maps)
    else:
        raise InputError(f'complexity: {type(model).__name__} is neither a two-stage detector '
                         '(roi_head), a one-stage detector (bbox_head) nor an encoder-decoder '
                         '(decode_head); its parts are not known')


def _call_roi_heads(roi_head, call, proposals, masks):
    for kind, rois in (('bbox', proposals), ('mask', masks)):
        heads = _as_list(getattr(roi_head, f'{kind}_head', None))
        extractors = _as_list(getattr(roi_head, f'{kind}_roi_extractor', None))
        if heads and not extractors:  # the mask head shares the box head's crops
            extractors = _as_list(roi_head.bbox_roi_extractor)
        extractors = extractors * len(heads) if len(extractors) == 1 else extractors
        name = 'box_head' if kind == 'bbox' else 'mask_head'
        for head, extractor in zip(heads, extractors):
            crop = torch.empty(rois, extractor.out_channels,
                               *_pair(extractor.roi_layers[0].output_size), device='meta')
            if getattr(roi_head, 'with_shared_head', False):
                crop = call(name, roi_head.shared_head, crop)
            call(name, head, crop)


def _count_call(module, inputs):
    """Call ``module`` on meta tensors; its :class:`Part` and its outputs."""
    with torch.no_grad(), _ElementwiseCounter(module) as elementwise, \
            FlopCounterMode(display=False) as counter:
        outputs = module(*inputs)
    by_operator = counter.get_flop_counts().get('Global', {})
    products = sum(by_operator.values()) // 2
    attention = sum(flops for operator, flops in by_operator.items()
                    if str(operator).split('.')[-1].startswith(ACTIVATION_PRODUCTS)) // 2
    return Part(_parameters(module), products + elementwise.macs, products, attention), outputs


class _ElementwiseCounter:
    """What mmcv's counter adds to the matrix products: biases of convolutions, norms, ..."""

    def __init__(self, module):
        from mmcv.cnn.utils import flops_counter
        self.layers = [layer for layer in module.modules()
                       if flops_counter.is_supported_instance(layer)]
        self.hooks = flops_counter.get_modules_mapping()
        self.macs = 0

    def __enter__(self):
        self.handles = []
        for layer in self.layers:
            layer.__flops__ = 0  # where mmcv's hooks add up
            if isinstance(layer, torch.nn.modules.conv._ConvNd):
                hook = self._count_bias
            elif isinstance(layer, torch.nn.Linear):
                continue
            else:
                hook = self.hooks[type(layer)]
            self.handles.append(layer.register_forward_hook(hook))
        return self

    def __exit__(self, *exception):
        for handle in self.handles:
            handle.remove()
        for layer in self.layers:
            self.macs += int(layer.__flops__)
            del layer.__flops__

    @staticmethod
    def _count_bias(layer: Any, inputs: object, output: torch.Tensor) -> None:
        if layer.bias is not None:
            layer.__flops__ += output.numel()


def _parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def _as_list(modules):
    if modules is None:
        return []
    return list(modules) if isinstance(modules, torch.nn.ModuleList) else [modules]


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
