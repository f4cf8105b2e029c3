"""Preparing a trained model for inference: the same values with fewer passes over memory.

Batch normalisation goes into the convolution before it, layer scale and GRN's bias into the second
pointwise layer. On a CPU in float32 the blocks and the 3x3 convolutions of the heads become
the versions here and in ``winograd``. Nothing of it can be trained afterwards.
"""
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import nn

from convnext_dense.acceleration.cpu.linear import linear_add, linear_gelu
from convnext_dense.acceleration.cpu.winograd import WinogradStack, replace_convolutions
from convnext_dense.chunks import chunks, rows_of_a_chunk
from convnext_dense.models.convnext import Block
from convnext_dense.models.layers import (
    LayerNorm2d,
    layer_norm_last,
    sum_of_squares,
    sums_of_squares,
)

#: heads of mmdet, their lists of convolutions that run one after the other on the features of
#: RoIs, and whether their results are flattened
STACKS = dict(ConvFCBBoxHead=dict(shared_convs=True, cls_convs=True, reg_convs=True),
              FCNMaskHead=dict(convs=False))


@torch.no_grad()
def prepare_for_inference(model, memory_format=torch.channels_last):
    """Fold and replace the layers of a model in place.

    Args:
        model (nn.Module): with trained weights; it is set to evaluation mode.
        memory_format (torch.memory_format): of the convolutions' weights, which their outputs
            follow.

    Returns:
        nn.Module: the model. Its outputs differ by rounding only, about 1e-5 of their scale.
    """
    model.eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, ConvModule):
            fold_batch_norm(module)
        elif isinstance(module, Block):
            fold_block(module)
    model.to(memory_format=memory_format)
    for module in list(model.modules()):
        for base in type(module).__mro__:
            for name, flat in STACKS.get(base.__name__, {}).items():
                if WinogradStack.fits(getattr(module, name)):
                    stack = WinogradStack(getattr(module, name), flat)
                    setattr(module, name, nn.ModuleList([stack]))
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if InferenceBlock.fits(child):
                setattr(parent, name, InferenceBlock(child))
    replace_convolutions(model)
    return model


def fold_batch_norm(module):
    """Put the batch norm of a mmcv ``ConvModule`` into its convolution, if it has one."""
    norm = module.norm if module.with_norm else None
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_var is None or \
            module.order.index('norm') != module.order.index('conv') + 1 or \
            type(module.conv) is not nn.Conv2d:
        return
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


def fold_block(block):
    """Put the layer scale of a ConvNeXt block, and the bias of its GRN, into ``pwconv2``."""
    layer = block.pwconv2
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


def _on_cpu_in_float32(module):
    return module.weight.device.type == 'cpu' and module.weight.dtype == torch.float32


class InferenceBlock(nn.Module):
    """A ConvNeXt block that computes its wide maps in chunks that stay in the processor's cache.

    Args:
        block (Block): its layers are kept under their names; layer scale and the bias of GRN must
            be folded already.
    """

    def __init__(self, block):
        super().__init__()
        self.dwconv, self.norm = block.dwconv, block.norm
        self.pwconv1, self.pwconv2 = block.pwconv1, block.pwconv2
        if block.use_grn:
            self.grn = block.grn
        self.use_grn = block.use_grn

    @staticmethod
    def fits(module):
        return type(module) is Block and isinstance(module.norm, LayerNorm2d) and \
            type(module.pwconv1) is nn.Linear and _on_cpu_in_float32(module.pwconv1) and \
            type(module.act) is nn.GELU and module.act.approximate == 'none' and \
            not module.layer_scale

    def forward(self, x):
        """Maps of shape (N, C, H, W) to the same shape."""
        shortcut, y = x.permute(0, 2, 3, 1), self.dwconv(x).permute(0, 2, 3, 1)
        if torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu') or \
                x.dtype != torch.float32 or y.requires_grad:
            y = F.gelu(self.pwconv1(layer_norm_last(y, self.norm)))
            if self.use_grn:
                y = y * (self.grn.gamma * self.grn.response(y) + 1)
            return (self.pwconv2(y) + shortcut).permute(0, 3, 1, 2)
        y = y.contiguous()
        maps = [values.flatten(1, 2) for values in (y, shortcut)]
        if not self.use_grn:
            self._branch(*(values.flatten(0, 1) for values in maps))
        elif maps[0].shape[1] > maps[0].shape[2]:
            for image in zip(*maps):
                self._normalised_branch(*image)
        else:
            images = rows_of_a_chunk(4 * maps[0][0].numel())
            for group in zip(*(values.split(images) for values in maps)):
                self._normalised_small_branch(*group)
        return y.permute(0, 3, 1, 2)

    def _branch(self, rows, shortcut):
        """Write ``shortcut`` plus the branch behind the depthwise convolution in place of ``rows``.

        Both have the shape (pixels, C); so they have below.
        """
        for part in chunks(len(rows), len(self.pwconv1.weight)):
            wide = self._widen(rows[part])
            rows[part] = linear_add(wide, self.pwconv2.weight, self.pwconv2.bias, shortcut[part])

    def _normalised_branch(self, rows, shortcut):
        """The same with GRN, which needs the norms of all pixels of the image first."""
        slices = chunks(len(rows), len(self.pwconv1.weight))
        wide = [self._widen(rows[part]) for part in slices]
        # there are fewer weights to multiply than values of the wide map
        weight = self.pwconv2.weight * self._factors(sum(map(sum_of_squares, wide)))
        for part, values in zip(slices, wide):
            rows[part] = linear_add(values, weight, self.pwconv2.bias, shortcut[part])

    def _normalised_small_branch(self, rows, shortcut):
        """The same for several images with few pixels, (N, pixels, C) each."""
        wide = self._widen(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        wide.mul_(self._factors(sums_of_squares(wide)))
        rows.flatten(0, 1).copy_(linear_add(wide.flatten(0, 1), self.pwconv2.weight,
                                            self.pwconv2.bias, shortcut.flatten(0, 1)))

    def _factors(self, squares):
        """GRN's factors of the channels from their sums of squares, both of shape (..., 4C)."""
        norm = squares.sqrt_()
        return self.grn.gamma.flatten() * (norm / (norm.mean(-1, keepdim=True) + self.grn.eps)) + 1

    def _widen(self, rows):
        return linear_gelu(layer_norm_last(rows, self.norm), self.pwconv1.weight,
                           self.pwconv1.bias)
