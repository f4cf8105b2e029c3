"""A factor on the learning rate of the backbone, beside all of mmengine's own settings."""
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneFactorOptimizerConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with one option more in ``paramwise_cfg``.

    With ``custom_keys=dict(backbone=dict(lr_mult=0.1))``, mmengine drops ``norm_decay_mult`` and
    its like for the whole backbone, so that recipes list every norm of it by name. Here

    - backbone_lr_factor (float): multiplies the learning rate of the backbone's parameters, above
      0 and at most 1, and leaves everything else as mmengine's settings make it.

    Raises:
        InputError: ``backbone_lr_factor`` is missing or out of range, or there is no lr.
    """

    def _validate_cfg(self) -> None:
        factor = self.paramwise_cfg.get('backbone_lr_factor')
        if not isinstance(factor, (int, float)) or not 0 < factor <= 1:
            raise InputError(f'paramwise_cfg: backbone_lr_factor={factor!r}; give a number above '
                             '0 and at most 1')
        if self.base_lr is None:
            raise InputError('optim_wrapper.optimizer has no lr, on which backbone_lr_factor '
                             'builds')
        super()._validate_cfg()

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: Any = None) -> None:
        """Add the parameters of a module to the groups; see mmengine.

        Args:
            params (list[dict]): groups of one parameter each, to which it adds.
            module (nn.Module): the model, or a part of it.
            prefix (str): the part's name in the model.
            is_dcn_module (int | float | None): mmengine's.
        """
        first = len(params)
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix == 'backbone':
            for group in params[first:]:
                group['lr'] = group.get('lr', self.base_lr) * \
                    self.paramwise_cfg['backbone_lr_factor']
