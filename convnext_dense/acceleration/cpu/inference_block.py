"""A ConvNeXt block that is only evaluated on a CPU: wide maps in chunks that stay in the cache."""
from typing import Any

import torch
from torch import Tensor, nn

from convnext_dense.acceleration.cpu.block import layers_are_plain
from convnext_dense.acceleration.cpu.linear import linear_add, linear_gelu
from convnext_dense.acceleration.cpu.sums import sum_of_squares, sums_of_squares
from convnext_dense.acceleration.forms import Form
from convnext_dense.chunks import chunks, rows_of_a_chunk
from convnext_dense.models.convnext import Block
from convnext_dense.models.layers import LayerNorm2d
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain


class InferenceBlock(Block, Form):
    """A :class:`Block`, folded by :func:`convnext_dense.acceleration.folding.fold_block`."""

    @staticmethod
    def fits(block: Block) -> bool:
        """Whether nothing of the block is left to do but what this form does."""
        return layers_are_plain(block) and not block.layer_scale and \
            is_plain(block.norm, LayerNorm2d) and \
            all(isinstance(layer, nn.Linear) for layer in (block.pwconv1, block.pwconv2)) and \
            not (block.use_grn and block.grn.beta.any())

    def compute(self, x: Tensor) -> Tensor:
        if not in_float32_on_cpu(x) or self.training or not layers_are_plain(self) or \
                not is_plain(self.norm, LayerNorm2d) or torch.is_grad_enabled() and (
                    x.requires_grad or self.pwconv1.weight.requires_grad):
            return super().compute(x)
        shortcut, y = x.permute(0, 2, 3, 1), self.dwconv(x).permute(0, 2, 3, 1).contiguous()
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
        """Write ``shortcut`` plus the branch after the depthwise convolution in place of ``rows``.

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
        norm: Any = self.norm  # a LayerNorm2d, whose forward wants maps
        rows = nn.LayerNorm.forward(norm, rows)
        return linear_gelu(rows, self.pwconv1.weight, self.pwconv1.bias)
