"""Forms of ConvNeXt's block and norm that call the kernels."""
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from convnext_dense.acceleration.cpu.block import is_depthwise7
from convnext_dense.acceleration.forms import Form
from convnext_dense.acceleration.triton import operators
from convnext_dense.models.convnext import Block
from convnext_dense.models.layers import GRN, LayerNorm2d
from convnext_dense.plain_layers import is_plain

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DEVICES = ('cuda', 'cpu', 'meta')  # the interpreter's maps are on a CPU


class TritonLayerNorm2d(LayerNorm2d, Form):
    """A :class:`LayerNorm2d` that reads either memory order without a permuted copy."""

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None or not _computes(x):
            return super().forward(x)
        return operators.layer_norm(x, self.weight, self.bias, self.eps)


class TritonBlock(Block, Form):
    """A :class:`Block` whose layers run fused where they are plain, one by one elsewhere."""

    def compute(self, x: Tensor) -> Tensor:
        if not _computes(x):
            return super().compute(x)
        norm: Any = self.norm
        if is_depthwise7(self.dwconv) and is_plain(norm, LayerNorm2d, TritonLayerNorm2d) and \
                norm.bias is not None:
            y = operators.dwconv_norm(x, self.dwconv.weight, self.dwconv.bias, norm.weight,
                                      norm.bias, norm.eps)
        else:
            y = norm(self.dwconv(x)).permute(0, 2, 3, 1)
        y = self.pwconv1(y)
        if is_plain(self.act, nn.GELU) and self.act.approximate == 'none' and \
                is_plain(self.pwconv2, nn.Linear) and \
                (not self.use_grn or is_plain(self.grn, GRN)):
            grn = (self.grn.gamma, self.grn.beta, self.grn.eps) if self.use_grn else ()
            y = operators.activated_linear(y, self.pwconv2.weight, self.pwconv2.bias, *grn)
        else:
            y = self.act(y)
            if self.use_grn:
                y = self.grn(y)
            y = self.pwconv2(y)
        gamma = self.gamma if self.layer_scale else None
        if not is_plain(self.drop_path, nn.Identity, DropPath):
            y = y if gamma is None else y * gamma
            return x + self.drop_path(y.permute(0, 3, 1, 2))
        return operators.scaled_residual(x, y, gamma, self._drop_path_factor(x))

    def _drop_path_factor(self, x: Tensor) -> Tensor | None:
        """What drop path multiplies each image's branch with, or None for all ones."""
        if not self.training or isinstance(self.drop_path, nn.Identity):
            return None
        return self.drop_path(x.new_ones(len(x), 1, 1, 1, dtype=torch.float32)).flatten()


def _computes(x: Tensor) -> bool:
    return x.dtype in TYPES and x.numel() > 0 and x.device.type in DEVICES
