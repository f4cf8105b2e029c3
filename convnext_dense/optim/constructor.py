"""Layer-wise and stage-wise learning-rate decay as OpenMMLab's optimizer constructor."""
from __future__ import annotations

from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.model_wrappers import unwrap
from convnext_dense.optim.layer_groups import (
    check_num_layers,
    has_weight_decay,
    layer_group,
    layer_scale,
)
from convnext_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS

DECAY_TYPES = ('layer_wise', 'stage_wise')
OPTIONS = {'decay_rate', 'decay_type', 'num_layers', 'custom_keys'}


def describe_backbone(backbone: Any) -> tuple[str, list[int]]:
    """Family (a key of ``FAMILIES``) and depths of a backbone module.

    Raises:
        InputError: its class is neither ConvNeXt nor Swin nor ResNet.
    """
    classes = ' '.join(cls.__name__ for cls in type(backbone).__mro__)
    if 'ConvNeXt' in classes:
        return 'convnext', [len(stage) for stage in backbone.stages]
    if 'SwinTransformer' in classes:
        return 'swin', [len(stage.blocks) for stage in backbone.stages]
    if 'ResNet' in classes:
        return 'resnet', [len(getattr(backbone, layer)) for layer in backbone.res_layers]
    raise InputError(f'learning-rate decay by layer knows ConvNeXt, Swin and ResNet backbones, '
                     f'not {type(backbone).__name__}; use mmengine\'s default constructor')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LearningRateDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """Builds the optimizer groups of the published ConvNeXt recipes.

    ``paramwise_cfg`` takes:

    - decay_rate (float): factor on the learning rate from one group to the one before, in (0, 1].
    - decay_type (str): ``layer_wise`` (default) or ``stage_wise``.
    - num_layers (int, optional): number of groups between stem and heads; derived from the
      backbone's depths where it is left out.
    - custom_keys (dict, optional): as in mmengine: ``{part of a name: dict(lr_mult=...,
      decay_mult=...)}``, multiplied onto the group's values; the longest matching key wins.

    Raises:
        InputError: an unknown or missing option, a backbone of another family, or a
            ``num_layers`` too small for its depths.
    """

    def _validate_cfg(self):
        unknown = set(self.paramwise_cfg) - OPTIONS
        if unknown:
            raise InputError(f'paramwise_cfg: unknown option {sorted(unknown)[0]!r}; the '
                             f'options are {", ".join(sorted(OPTIONS))}')
        rate = self.paramwise_cfg.get('decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise InputError(f'paramwise_cfg: decay_rate={rate!r}; give a number above 0 and '
                             'at most 1')
        decay_type = self.paramwise_cfg.get('decay_type', 'layer_wise')
        if decay_type not in DECAY_TYPES:
            raise InputError(f'paramwise_cfg: decay_type={decay_type!r}; use one of '
                             f'{", ".join(DECAY_TYPES)}')
        if self.base_lr is None:
            raise InputError('optim_wrapper.optimizer has no lr, on which the decay builds')
        super()._validate_cfg()

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = unwrap(model)
        cfg = dict(self.optim_wrapper_cfg)
        cfg.setdefault('type', 'OptimWrapper')
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=self.param_groups(model)))
        return OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=optimizer))

    def param_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups of ``model``, the ones with the base learning rate first.

        Args:
            model (nn.Module): a detector or segmenter with a ``backbone``.

        Returns:
            list[dict]: each with ``params``, ``param_names``, ``lr``, ``weight_decay``,
            ``layer`` (int) and ``lr_scale`` (float).
        """
        family, depths = describe_backbone(model.backbone)
        num_layers = check_num_layers(self.paramwise_cfg.get('num_layers'), depths)
        rate = self.paramwise_cfg['decay_rate']
        decay_type = self.paramwise_cfg.get('decay_type', 'layer_wise')

        groups: dict[tuple, dict[str, Any]] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = num_layers + 1
            if name.startswith('backbone.'):
                layer = layer_group(name.removeprefix('backbone.'), family, depths, num_layers,
                                    decay_type)
            custom = self._custom(name)
            lr_scale = layer_scale(layer, num_layers, rate) * custom.get('lr_mult', 1.)
            weight_decay = self.base_wd
            if weight_decay is not None:
                weight_decay *= has_weight_decay(name, parameter.ndim)
                weight_decay *= custom.get('decay_mult', 1.)
            key = (layer, lr_scale, weight_decay)
            group = groups.setdefault(key, dict(
                params=[], param_names=[], layer=layer, lr_scale=lr_scale,
                lr=self.base_lr * lr_scale,
                **({} if weight_decay is None else dict(weight_decay=weight_decay))))
            group['params'].append(parameter)
            group['param_names'].append(name)

        # the training log shows the first group's learning rate
        ordered = sorted(groups.values(), key=lambda group: (
            -group['layer'], group['lr_scale'] != 1., -(group.get('weight_decay') or 0.)))
        print_log(f'{decay_type} learning-rate decay {rate}, {family} of depths {depths}, '
                  f'num_layers {num_layers}, base lr {self.base_lr:g}', logger='current')
        for group in ordered:
            print_log(f'layer {group["layer"]:2d}: lr scale {group["lr_scale"]:.4g}, weight decay '
                      f'{group.get("weight_decay", 0.):g}, {len(group["params"])} tensors',
                      logger='current')
        return ordered

    def _custom(self, name):
        """The settings of the longest key of ``custom_keys`` that is part of ``name``."""
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        matching = [key for key in custom_keys if key in name]
        return custom_keys[max(matching, key=lambda key: (len(key), key))] if matching else {}
