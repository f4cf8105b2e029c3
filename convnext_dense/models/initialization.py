"""How a ConvNeXt starts: OpenMMLab's ``init_cfg``, and a stem that bears constant images."""
from mmengine.model import PretrainedInit
from torch import Tensor, nn


def resolve_init_cfg(init_cfg: dict | list | None) -> dict | list:
    """The published initialisation for None; ``Pretrained`` becomes the toolkit's safe one."""
    if init_cfg is None:
        return [dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=.02, bias=0.),
                dict(type='Constant', layer=['LayerNorm2d'], val=1., bias=0.)]
    # in mmengine's pure-Python configs a type is the class itself
    if isinstance(init_cfg, dict) and init_cfg.get('type') in ('Pretrained', PretrainedInit):
        return dict(init_cfg, type='convnext_dense.Pretrained')
    return init_cfg


def ensure_bias(weight: Tensor, bias: Tensor, init_cfg: dict | list) -> None:
    """Draw a bias that an initialisation left at 0, as torch draws those of its convolutions.

    Without a bias the stem makes zero padding a constant 0, whose gradient each of the norms that
    follow multiplies by ``1 / sqrt(eps)``. Pretrained weights stay as they were published.

    Args:
        weight, bias (Tensor): of a convolution, already initialised.
        init_cfg (dict | list): what it was initialised with.
    """
    steps = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    pretrained = any('Pretrained' in str(step['type']) for step in steps)
    if not pretrained and not bias.any():
        bound = weight[0].numel()**-.5
        nn.init.uniform_(bias, -bound, bound)
