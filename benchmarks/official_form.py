"""The backbone computed as the official release does it, on this project's parameters.

The same permutes, the same channels-first LayerNorm from means, the same elementwise passes as
the classes of github.com/facebookresearch/ConvNeXt and ConvNeXt-V2.
"""
import torch
import torch.nn.functional as F

from convnext_dense.models import ConvNeXt


class OfficialForm(ConvNeXt):
    """:class:`ConvNeXt` with the forward pass of the official release."""

    def forward(self, x):
        maps = []
        for stage, (downsample, blocks) in enumerate(zip(self.downsample_layers, self.stages)):
            for layer in downsample:
                x = layer(x) if isinstance(layer, torch.nn.Conv2d) else _norm_first(x, layer)
            for block in blocks:
                x = x + _branch(x, block)
            maps.append(_norm_first(x, getattr(self, f'norm{stage}')))
        return tuple(maps)


def _norm_first(x, norm):
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + norm.eps)
    return norm.weight[:, None, None] * x + norm.bias[:, None, None]


def _branch(x, block):
    x = block.dwconv(x).permute(0, 2, 3, 1)
    x = F.layer_norm(x, x.shape[-1:], block.norm.weight, block.norm.bias, block.norm.eps)
    x = F.gelu(block.pwconv1(x))
    if block.use_grn:
        norm = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        x = block.grn.gamma * (x * (norm / (norm.mean(dim=-1, keepdim=True) + block.grn.eps))) \
            + block.grn.beta + x
    x = block.pwconv2(x)
    if block.layer_scale:
        x = block.gamma * x
    return x.permute(0, 3, 1, 2)
