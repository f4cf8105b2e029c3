"""ConvNeXt V1 (arXiv 2201.03545) and V2 (arXiv 2301.00808) as a backbone for dense prediction.

Parameter names are those of the official releases.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.cnn import build_activation_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convnext_dense.errors import InputError
from convnext_dense.models.architectures import (
    ARCHITECTURES,
    check_numbers,
    resolve_arch,
    resolve_norm,
    resolve_out_indices,
    resolve_stages,
)
from convnext_dense.models.initialization import ensure_bias, resolve_init_cfg
from convnext_dense.models.layers import GRN, PointwiseConv2d, build_norm2d
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
        linear_pw_conv (bool): the pointwise layers as linear layers (the official form) or as 1x1
            convolutions (the same values; parameters of shape (out, in, 1, 1)).
        use_grn (bool): V2's global response normalisation after the activation.
        drop_path_rate (float): probability of dropping the block, in [0, 1).
        layer_scale_init_value (float): initial layer scale; 0 leaves layer scale out.
        with_cp (bool): recompute the block in the backward pass instead of keeping it.
    """

    def __init__(self, channels: int, norm_cfg: dict, act_cfg: dict, linear_pw_conv: bool = True,
                 use_grn: bool = False, drop_path_rate: float = 0.,
                 layer_scale_init_value: float = 1e-6, with_cp: bool = False) -> None:
        super().__init__()
        pointwise = nn.Linear if linear_pw_conv else PointwiseConv2d
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
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self.compute, x, use_reentrant=False)
        return self.compute(x)

    def compute(self, x: Tensor) -> Tensor:
        """The block of maps (N, C, H, W); the place where a faster form of it differs."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.act(self.pwconv1(y))
        if self.use_grn:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.layer_scale:
            y = y * self.gamma
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt with one feature map for each requested stage, normalised for dense heads.

    Takes the arguments of ``mmpretrain.ConvNeXt`` with the same meaning, and ``out_norm``.

    Args:
        arch (str | dict): a name of ``ARCHITECTURES``, or ``dict(depths=..., channels=...)`` with
            any number of stages.
        in_channels (int): channels of the images.
        stem_patch_size (int): kernel and stride of the stem, in pixels.
        norm_cfg (dict, optional): norm of stem, blocks, downsampling and outputs; None is
            LayerNorm with the arch's eps: 1e-5 for xxlarge, 1e-6 for all others.
        act_cfg (dict): activation of the blocks.
        linear_pw_conv (bool): see :class:`Block`.
        use_grn (bool): True makes it ConvNeXt V2 (with ``layer_scale_init_value=0``).
        drop_path_rate (float): rate of the last block, in [0, 1); it rises linearly from 0 over
            all blocks.
        layer_scale_init_value (float): initial layer scale; 0 leaves it out.
        out_indices (int | Sequence[int] | None): stages whose maps are returned, negative ones
            counted from the end; None is all of them. Stages after the last one are not run; they
            are there to load published weights, and get no gradient.
        frozen_stages (int): the first so many stages, with the stem or downsampling before
            each, stay in evaluation mode and get no gradient, and if these are all stages, the
            norms of the outputs, too. -1 and 0 freeze nothing.
        gap_before_final_norm (bool): only False makes sense for dense prediction.
        with_cp (bool | Sequence[int]): activation checkpointing in every block, or in the blocks
            of these stages.
        out_norm (bool | Sequence[int]): whether each output, or those of these stages, has a norm
            of its own; the other maps are returned as they are.
        init_cfg (dict | list | None): OpenMMLab's initialisation. None draws weights from a
            truncated normal distribution of deviation 0.02, as published. ``type='Pretrained'``
            reads any published ConvNeXt format, safely. A stem bias that it leaves at 0 is drawn.

    Raises:
        InputError: an unknown arch, an entry of out_indices, with_cp or out_norm that is no
            stage, a number that none can be, or gap_before_final_norm=True.
    """

    arch_zoo = ARCHITECTURES

    def __init__(self, arch: str | dict = 'tiny', in_channels: int = 3, stem_patch_size: int = 4,
                 norm_cfg: dict | None = None, act_cfg: dict = dict(type='GELU'),
                 linear_pw_conv: bool = True, use_grn: bool = False, drop_path_rate: float = 0.,
                 layer_scale_init_value: float = 1e-6,
                 out_indices: int | Sequence[int] | None = None, frozen_stages: int = 0,
                 gap_before_final_norm: bool = False, with_cp: bool | Sequence[int] = False,
                 out_norm: bool | Sequence[int] = True,
                 init_cfg: dict | list | None = None) -> None:
        depths, channels = resolve_arch(arch)
        norm_cfg = resolve_norm(arch, norm_cfg)
        if gap_before_final_norm:
            raise InputError('ConvNeXt: gap_before_final_norm=True makes one vector an image, '
                             'which no neck can use; set it to False or leave it out')
        check_numbers(len(depths), in_channels=in_channels, stem_patch_size=stem_patch_size,
                      frozen_stages=frozen_stages, drop_path_rate=drop_path_rate)
        super().__init__(init_cfg=resolve_init_cfg(init_cfg))
        checkpointed = resolve_stages('with_cp', with_cp, len(depths))
        normalised = resolve_stages('out_norm', out_norm, len(depths))
        self.depths, self.channels, self.frozen_stages = depths, channels, max(frozen_stages, 0)
        self.out_indices = resolve_out_indices(out_indices, len(depths))
        #: stage, channels and stride of each output, in order
        self.feature_info = tuple(StageInfo(stage, channels[stage], stem_patch_size * 2**stage)
                                  for stage in self.out_indices)

        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(depths, channels)):
            if stage == 0:
                layer = nn.Sequential(
                    nn.Conv2d(in_channels, width, stem_patch_size, stride=stem_patch_size),
                    build_norm2d(norm_cfg, width))
            else:
                layer = nn.Sequential(
                    build_norm2d(norm_cfg, channels[stage - 1]),
                    nn.Conv2d(channels[stage - 1], width, kernel_size=2, stride=2))
            self.downsample_layers.append(layer)
            self.stages.append(nn.Sequential(*(
                Block(width, norm_cfg, act_cfg, linear_pw_conv, use_grn, next(rates),
                      layer_scale_init_value, stage in checkpointed) for _ in range(depth))))
            if stage in self.out_indices and stage in normalised:
                self.add_module(f'norm{stage}', build_norm2d(norm_cfg, width))
        self._freeze_stages()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; the stem never starts without a bias."""
        super().init_weights()
        stem = 'downsample_layers.0.0.'
        ensure_bias(self.get_parameter(stem + 'weight'), self.get_parameter(stem + 'bias'),
                    self.init_cfg)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the stages in ``out_indices``.

        Args:
            x (Tensor): images of shape (N, in_channels, H, W); H and W need not divide by 32.

        Returns:
            tuple[Tensor]: for each output a map of shape (N, channels, H / stride, W / stride),
            rounded down.
        """
        maps = {}
        for stage in range(max(self.out_indices) + 1):
            x = self.stages[stage](self.downsample_layers[stage](x))
            if stage in self.out_indices:
                norm = getattr(self, f'norm{stage}', None)
                maps[stage] = x if norm is None else norm(x)
        return tuple(maps[stage] for stage in self.out_indices)

    def _freeze_stages(self) -> None:
        frozen = [] if self.frozen_stages < len(self.stages) else [*self.children()]
        for stage, layers in enumerate(zip(self.downsample_layers, self.stages)):
            if not self.frozen_stages <= stage <= max(self.out_indices):
                frozen += layers
        for module in frozen:
            module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'ConvNeXt':
        super().train(mode)
        self._freeze_stages()
        return self
