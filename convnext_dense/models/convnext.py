"""ConvNeXt V1 and V2 as a backbone for detectors and segmenters.

Follows "A ConvNet for the 2020s" (arXiv 2201.03545) and "ConvNeXt V2" (arXiv 2301.00808).
Parameter names are those of the official releases.
"""
from functools import partial
from typing import NamedTuple

import torch
import torch.utils.checkpoint
from mmcv.cnn import build_activation_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import nn

from convnext_dense.acceleration import triton as fused_ops
from convnext_dense.acceleration.cpu import block as cpu_block
from convnext_dense.acceleration.cpu.patch_conv import PatchConv2d
from convnext_dense.errors import InputError
from convnext_dense.models.architectures import ARCHITECTURES, resolve_arch
from convnext_dense.models.layers import GRN, LayerNorm2d, build_norm2d, layer_norm_last
from convnext_dense.registry import MODELS


class StageInfo(NamedTuple):
    """What a neck needs to know of one output: its stage, channels and stride in pixels."""
    stage: int
    channels: int
    stride: int


class Block(nn.Module):
    """One residual block: depthwise 7x7, norm, 4x wide pointwise pair, layer scale, drop path.

    Args:
        channels (int): channels of input and output, shape (N, C, H, W).
        norm_cfg, act_cfg (dict): OpenMMLab's configs of the norm and of the activation.
        linear_pw_conv (bool): the pointwise convolutions as linear layers (the official form) or
            as 1x1 convolutions (the same values; parameters of shape (out, in, 1, 1)).
        use_grn (bool): V2's global response normalisation after the activation.
        drop_path_rate (float): probability of dropping the block, in [0, 1).
        layer_scale_init_value (float): initial layer scale; 0 leaves layer scale out.
        with_cp (bool): recompute the block in the backward pass instead of keeping it.

    ``ops`` chooses between fused operators and plain torch, see :class:`ConvNeXt`.
    """

    ops = 'auto'

    def __init__(self, channels, norm_cfg, act_cfg, linear_pw_conv=True, use_grn=False,
                 drop_path_rate=0., layer_scale_init_value=1e-6, with_cp=False):
        super().__init__()
        pointwise = nn.Linear if linear_pw_conv else partial(nn.Conv2d, kernel_size=1)
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = build_norm2d(norm_cfg, channels)
        self.pwconv1 = pointwise(channels, 4 * channels)
        self.act = build_activation_layer(act_cfg)
        if use_grn:
            self.grn = GRN(4 * channels)
        self.pwconv2 = pointwise(4 * channels, channels)
        if layer_scale_init_value > 0:
            self.gamma = nn.Parameter(torch.full((channels, ), float(layer_scale_init_value)))
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.use_grn = use_grn
        self.layer_scale = layer_scale_init_value > 0
        self.linear_pw_conv = linear_pw_conv
        self.with_cp = with_cp

    def forward(self, x):
        if self.with_cp and x.requires_grad:
            return torch.utils.checkpoint.checkpoint(self._compute, x, use_reentrant=False)
        return self._compute(x)

    def _compute(self, x):
        fused = fused_ops.module if fused_ops.wanted(self.ops, x) else None
        if not fused and cpu_block.fits(self, x):
            return cpu_block.compute(self, x)
        # the branch works on (N, H, W, C)
        if fused and isinstance(self.norm, LayerNorm2d) and self.norm.bias is not None:
            branch = fused.dwconv_norm(x, self.dwconv.weight, self.dwconv.bias, self.norm.weight,
                                       self.norm.bias, self.norm.eps)
        elif isinstance(self.norm, LayerNorm2d):
            branch = layer_norm_last(self.dwconv(x).permute(0, 2, 3, 1), self.norm)
        else:
            branch = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        branch = self._pointwise(branch, self.pwconv1)
        if fused and type(self.act) is nn.GELU and self.act.approximate == 'none':
            grn = (self.grn.gamma, self.grn.beta, self.grn.eps) if self.use_grn else ()
            branch = fused.activated_linear(branch, self.pwconv2.weight, self.pwconv2.bias, *grn)
        else:
            branch = self.act(branch)
            if self.use_grn:
                branch = self.grn(branch)
            branch = self._pointwise(branch, self.pwconv2)
        if fused:
            return fused.scaled_residual(x, branch, self.gamma if self.layer_scale else None,
                                         self._drop_path_factor(x))
        if self.layer_scale:
            branch = branch * self.gamma
        return x + self.drop_path(branch.permute(0, 3, 1, 2))

    def _drop_path_factor(self, x):
        """What drop path multiplies each image's branch with, or None for all ones."""
        if not self.training or isinstance(self.drop_path, nn.Identity):
            return None
        return self.drop_path(x.new_ones(len(x), 1, 1, 1, dtype=torch.float32)).flatten()

    def _pointwise(self, x, layer):
        if self.linear_pw_conv:
            return layer(x)
        return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt with one normalised feature map for each requested stage.

    Takes the arguments of ``mmpretrain.ConvNeXt`` with the same meaning.

    Args:
        arch (str | dict): a name (atto, femto, pico, nano, tiny, small, base, large, xlarge,
            huge), or ``dict(depths=..., channels=...)`` with any number of stages.
        in_channels (int): channels of the images.
        stem_patch_size (int): kernel and stride of the stem, in pixels.
        norm_cfg (dict): norm of stem, blocks, downsampling and outputs.
        act_cfg (dict): activation of the blocks.
        linear_pw_conv (bool): see :class:`Block`.
        use_grn (bool): True makes it ConvNeXt V2 (with ``layer_scale_init_value=0``).
        drop_path_rate (float): rate of the last block; it rises linearly from 0 over all blocks.
        layer_scale_init_value (float): initial layer scale; 0 leaves it out.
        out_indices (int | Sequence[int] | None): stages whose maps are returned, negative ones
            counted from the end; None is all of them.
        frozen_stages (int): the first so many stages, with the stem or downsampling before
            each, stay in evaluation mode and get no gradient. -1 and 0 freeze nothing.
        gap_before_final_norm (bool): only False makes sense for dense prediction.
        with_cp (bool | Sequence[int]): activation checkpointing in every block, or in the blocks
            of these stages.
        ops (str): ``auto`` takes the fused operators of
            :mod:`convnext_dense.acceleration.triton` for maps on a GPU, where Triton is there, and
            plain torch elsewhere. ``torch`` never takes them.
            ``triton`` is an error where they cannot run.
        init_cfg (dict | list | None): OpenMMLab's initialisation. None draws weights from a
            truncated normal distribution of deviation 0.02, as published. ``type='Pretrained'``
            reads any published ConvNeXt format, safely.

    Raises:
        InputError: an unknown arch, an out_indices or with_cp entry that is no stage,
            frozen_stages beyond the stages, gap_before_final_norm=True, or ops that cannot be had.
    """

    arch_zoo = ARCHITECTURES

    def __init__(self, arch='tiny', in_channels=3, stem_patch_size=4,
                 norm_cfg=dict(type='LN2d', eps=1e-6), act_cfg=dict(type='GELU'),
                 linear_pw_conv=True, use_grn=False, drop_path_rate=0.,
                 layer_scale_init_value=1e-6, out_indices=None, frozen_stages=0,
                 gap_before_final_norm=False, with_cp=False, ops='auto', init_cfg=None):
        depths, channels = resolve_arch(arch)
        if gap_before_final_norm:
            raise InputError('ConvNeXt: gap_before_final_norm=True makes one vector an image, '
                             'which no neck can use; set it to False or leave it out')
        if not -1 <= frozen_stages <= len(depths):
            raise InputError(f'ConvNeXt: frozen_stages={frozen_stages}, but there are '
                             f'{len(depths)} stages; give 0 to {len(depths)}')
        fused_ops.prepare(ops)
        super().__init__(init_cfg=self._resolve_init_cfg(init_cfg))
        self.ops = ops
        if isinstance(with_cp, int):
            with_cp = range(len(depths)) if with_cp else ()
        if not set(with_cp) <= set(range(len(depths))):
            raise InputError(f'ConvNeXt: with_cp={with_cp!r}; give True, False or a list of '
                             f'stages, 0 to {len(depths) - 1}')
        self.depths, self.channels = depths, channels
        self.out_indices = self._resolve_out_indices(out_indices, len(depths))
        self.frozen_stages = max(frozen_stages, 0)
        strides = [stem_patch_size * 2**stage for stage in range(len(depths))]
        #: tuple[StageInfo]: stage, channels and stride of each output, in order
        self.feature_info = tuple(StageInfo(stage, channels[stage], strides[stage])
                                  for stage in self.out_indices)

        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        self.downsample_layers = nn.ModuleList()
        self.stages = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(depths, channels)):
            if stage == 0:
                layer = nn.Sequential(
                    nn.Conv2d(in_channels, width, stem_patch_size, stride=stem_patch_size),
                    build_norm2d(norm_cfg, width))
            else:
                layer = nn.Sequential(
                    build_norm2d(norm_cfg, channels[stage - 1]),
                    PatchConv2d(channels[stage - 1], width, patch_size=2))
            self.downsample_layers.append(layer)
            self.stages.append(nn.Sequential(*(
                Block(width, norm_cfg, act_cfg, linear_pw_conv, use_grn, next(rates),
                      layer_scale_init_value, stage in with_cp) for _ in range(depth))))
            if stage in self.out_indices:
                self.add_module(f'norm{stage}', build_norm2d(norm_cfg, width))
        for module in self.modules():
            if isinstance(module, (Block, LayerNorm2d)):
                module.ops = ops
        self._freeze_stages()

    @staticmethod
    def _resolve_init_cfg(init_cfg):
        if init_cfg is None:
            return [dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=.02, bias=0.),
                    dict(type='Constant', layer=['LayerNorm2d'], val=1., bias=0.)]
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            return dict(init_cfg, type='convnext_dense.Pretrained')
        return init_cfg

    @staticmethod
    def _resolve_out_indices(out_indices, stages):
        if out_indices is None:
            return tuple(range(stages))
        indices = (out_indices, ) if isinstance(out_indices, int) else tuple(out_indices)
        resolved = tuple(index + stages if isinstance(index, int) and index < 0 else index
                         for index in indices)
        if not resolved or not all(index in range(stages) for index in resolved) or \
                len(set(resolved)) != len(resolved):
            raise InputError(f'ConvNeXt: out_indices={out_indices!r}; each must name one of the '
                             f'{stages} stages (0 to {stages - 1}, or -{stages} to -1) once')
        return resolved

    def forward(self, x):
        """Feature maps of the stages in ``out_indices``.

        Args:
            x (Tensor): images of shape (N, in_channels, H, W); H and W need not divide by 32.

        Returns:
            tuple[Tensor]: for each output a map of shape (N, channels, H / stride, W / stride),
            rounded down.
        """
        maps = {}
        for stage, (downsample, blocks) in enumerate(zip(self.downsample_layers, self.stages)):
            x = blocks(downsample(x))
            if stage in self.out_indices:
                maps[stage] = getattr(self, f'norm{stage}')(x)
        return tuple(maps[stage] for stage in self.out_indices)

    def _freeze_stages(self):
        for stage in range(self.frozen_stages):
            for module in (self.downsample_layers[stage], self.stages[stage]):
                module.eval().requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        return self
