"""Layers of a trained model that go into their neighbours: same values, fewer operations."""
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.utils import parametrize

from convnext_dense.models.convnext import Block
from convnext_dense.models.layers import GRN, PointwiseConv2d
from convnext_dense.plain_layers import is_plain

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


@torch.no_grad()
def fold(model: nn.Module) -> tuple[int, int]:
    """Fold batch norms into convolutions, layer scale and GRN's bias into pointwise layers.

    Args:
        model (nn.Module): in evaluation mode; changed in place.

    Returns:
        tuple[int, int]: how many convolutions and blocks were changed.
    """
    convolutions = [fold_batch_norm(module) for module in model.modules()
                    if isinstance(module, ConvModule)]
    blocks = [fold_block(module) for module in model.modules() if isinstance(module, Block)]
    return sum(convolutions), sum(blocks)


def fold_batch_norm(module: ConvModule) -> bool:
    """Put the batch norm of a mmcv ``ConvModule`` into its convolution, if it can be.

    Returns:
        bool: whether it was.
    """
    norm = module.norm if module.with_norm else None
    if not isinstance(norm, BATCH_NORMS) or \
            norm.running_var is None or norm.running_mean is None or \
            module.order.index('norm') != module.order.index('conv') + 1 or \
            not is_plain(module.conv, nn.Conv2d) or not is_plain(norm):
        return False
    conv = module.conv
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    conv.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    setattr(module, module.norm_name, nn.Identity())
    return True


def fold_block(block: Block) -> bool:
    """Put the layer scale of a ConvNeXt block, and the bias of its GRN, into ``pwconv2``.

    Returns:
        bool: False where a layer is wrapped or has hooks.
    """
    layer = block.pwconv2
    if not is_plain(layer, nn.Linear, PointwiseConv2d) or layer.bias is None or \
            parametrize.is_parametrized(block) or \
            block.use_grn and not is_plain(block.grn, GRN):
        return False
    if block.use_grn:
        beta = block.grn.beta.flatten().double()
        # in double precision, and not all weights of a block at once
        parts = layer.weight.flatten(1).split(64)
        layer.bias += torch.cat([rows.double() @ beta for rows in parts])
        block.grn.beta.zero_()
    if block.layer_scale:
        layer.weight.mul_(block.gamma.view(-1, *(1, ) * (layer.weight.ndim - 1)))
        layer.bias.mul_(block.gamma)
        block.layer_scale = False
        del block.gamma
    return True
