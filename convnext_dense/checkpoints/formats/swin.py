"""Swin Transformer: the official release, and mmdet's and mmseg's own names."""
from convnext_dense.checkpoints.formats.official import OUTPUT_NORMS
from convnext_dense.checkpoints.formats.tables import Format, Row, same

_SWIN = 'layers.{s}.blocks.{b}.'
_TABLE, _INDEX = 'attn.relative_position_bias_table', 'attn.relative_position_index'
SWIN = Format('swin', 'swin', r'layers\.\d+\.blocks\.\d+\.attn\.qkv\.(weight|bias)$', same(
    'patch_embed.proj.{p}', 'patch_embed.norm.{p}', _SWIN + 'norm{n}.{p}', _SWIN + 'attn.qkv.{p}',
    _SWIN + 'attn.proj.{p}', _SWIN + _TABLE, _SWIN + _INDEX, _SWIN + 'attn_mask',
    _SWIN + 'mlp.fc{n}.{p}', 'layers.{s}.downsample.reduction.weight',
    'layers.{s}.downsample.norm.{p}', 'norm.{p}', 'head.{p}') + OUTPUT_NORMS)

# The official patch merging lays four patches side by side, column by column, each with all its
# channels; OpenMMLab's unfold gives the four patches of a channel, row by row.
_PATCHES = [0, 2, 1, 3]


def _read_merging(tensor):
    tensor = tensor.unflatten(-1, (-1, 4)).transpose(-2, -1)
    return tensor[..., _PATCHES, :].flatten(-2)


def _write_merging(tensor):
    tensor = tensor.unflatten(-1, (4, -1))[..., _PATCHES, :]
    return tensor.transpose(-2, -1).flatten(-2)


_MM_SWIN = 'stages.{s}.blocks.{b}.'
MM_SWIN = Format(
    'swin-openmmlab', 'swin', r'stages\.\d+\.blocks\.\d+\.attn\.w_msa\.qkv\.(weight|bias)$', (
        Row('patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
        *same('patch_embed.norm.{p}', 'norm.{p}', 'head.{p}'),
        Row(_MM_SWIN + 'norm{n}.{p}', _SWIN + 'norm{n}.{p}'),
        Row(_MM_SWIN + 'attn.w_msa.qkv.{p}', _SWIN + 'attn.qkv.{p}'),
        Row(_MM_SWIN + 'attn.w_msa.proj.{p}', _SWIN + 'attn.proj.{p}'),
        Row(_MM_SWIN + 'attn.w_msa.relative_position_bias_table', _SWIN + _TABLE),
        Row(_MM_SWIN + 'attn.w_msa.relative_position_index', _SWIN + _INDEX),
        Row(_MM_SWIN + 'ffn.layers.0.0.{p}', _SWIN + 'mlp.fc1.{p}'),
        Row(_MM_SWIN + 'ffn.layers.1.{p}', _SWIN + 'mlp.fc2.{p}'),
        Row('stages.{s}.downsample.reduction.weight', 'layers.{s}.downsample.reduction.weight',
            _read_merging, _write_merging),
        Row('stages.{s}.downsample.norm.{p}', 'layers.{s}.downsample.norm.{p}',
            _read_merging, _write_merging),
        *OUTPUT_NORMS))
