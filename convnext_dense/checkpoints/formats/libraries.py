"""timm, torchvision, transformers and mmpretrain."""
import re

from convnext_dense.checkpoints.formats.official import BLOCK, OUTPUT_NORMS
from convnext_dense.checkpoints.formats.tables import (
    BACKBONE,
    Format,
    Row,
    column,
    flat,
    linear,
    same,
)

_TIMM_BLOCK = 'stages.{s}.blocks.{b}.'
TIMM_ROWS = (
    Row('stem.{n}.{p}', 'downsample_layers.0.{n}.{p}'),
    Row('stages.{s}.downsample.{n}.{p}', 'downsample_layers.{s}.{n}.{p}'),
    Row(_TIMM_BLOCK + 'conv_dw.{p}', BLOCK + 'dwconv.{p}'),
    Row(_TIMM_BLOCK + 'norm.{p}', BLOCK + 'norm.{p}'),
    Row(_TIMM_BLOCK + 'mlp.fc{n}.{p}', BLOCK + 'pwconv{n}.{p}', linear),
    Row(_TIMM_BLOCK + 'mlp.grn.weight', BLOCK + 'grn.gamma', flat(4), flat(1)),
    Row(_TIMM_BLOCK + 'mlp.grn.bias', BLOCK + 'grn.beta', flat(4), flat(1)),
    Row(_TIMM_BLOCK + 'gamma', BLOCK + 'gamma'),
    Row('head.norm.{p}', 'norm.{p}'), Row('head.fc.{p}', 'head.{p}'),
    Row('norm_pre.{p}', 'norm.{p}', write=None),
    *OUTPUT_NORMS)
TIMM = Format('timm', 'convnext', r'stages\.\d+\.blocks\.\d+\.conv_dw\.(weight|bias)$', TIMM_ROWS)
# features_only=True flattens the first level of names
TIMM_FEATURES = Format(
    'timm-features', 'convnext', r'stages_\d+\.blocks\.\d+\.conv_dw\.(weight|bias)$', tuple(
        row._replace(theirs=re.sub(r'^(stem|stages)\.', r'\1_', row.theirs)) for row in TIMM_ROWS))

TORCHVISION = Format(
    'torchvision', 'convnext', r'features\.\d+\.\d+\.(layer_scale|block\.0\.(weight|bias))$', (
    Row('features.0.{n}.{p}', 'downsample_layers.0.{n}.{p}'),
    *(row for stage in range(4) for row in (
        Row(f'features.{2 * stage}.{{n}}.{{p}}', f'downsample_layers.{stage}.{{n}}.{{p}}'),
        *(Row(f'features.{2 * stage + 1}.{{b}}.block.{place}.{{p}}',
              f'stages.{stage}.{{b}}.{name}.{{p}}')
          for place, name in ((0, 'dwconv'), (2, 'norm'), (3, 'pwconv1'), (5, 'pwconv2'))),
        Row(f'features.{2 * stage + 1}.{{b}}.layer_scale', f'stages.{stage}.{{b}}.gamma',
            flat(1), column))),
    Row('classifier.0.{p}', 'norm.{p}'), Row('classifier.2.{p}', 'head.{p}'), *OUTPUT_NORMS))

_HF_BLOCK = 'encoder.stages.{s}.layers.{b}.'
TRANSFORMERS = Format(
    'transformers', 'convnext', r'encoder\.stages\.\d+\.layers\.\d+\.dwconv\.(weight|bias)$', (
        Row('embeddings.patch_embeddings.{p}', 'downsample_layers.0.0.{p}'),
        Row('embeddings.layernorm.{p}', 'downsample_layers.0.1.{p}'),
        Row('encoder.stages.{s}.downsampling_layer.{n}.{p}', 'downsample_layers.{s}.{n}.{p}'),
        Row(_HF_BLOCK + 'dwconv.{p}', BLOCK + 'dwconv.{p}'),
        Row(_HF_BLOCK + 'layernorm.{p}', BLOCK + 'norm.{p}'),
        Row(_HF_BLOCK + 'pwconv{n}.{p}', BLOCK + 'pwconv{n}.{p}'),
        Row(_HF_BLOCK + 'grn.weight', BLOCK + 'grn.gamma', flat(4), flat(4)),
        Row(_HF_BLOCK + 'grn.bias', BLOCK + 'grn.beta', flat(4), flat(4)),
        Row(_HF_BLOCK + 'grn.gamma', BLOCK + 'grn.gamma', flat(4), None),
        Row(_HF_BLOCK + 'grn.beta', BLOCK + 'grn.beta', flat(4), None),
        Row(_HF_BLOCK + 'layer_scale_parameter', BLOCK + 'gamma'),
        Row('layernorm.{p}', 'norm.{p}'),
        *(Row(f'hidden_states_norms.stage{stage + 1}.{{p}}', f'norm{stage}.{{p}}')
          for stage in range(4))),
    head='classifier.{p}',
    prefix=lambda keys: ('convnextv2.' if any('.grn.' in key for key in keys) else 'convnext.'))

_DINO_BLOCK = 'stages.{s}.layers.{b}.'
TRANSFORMERS_DINOV3 = Format(
    'transformers-dinov3', 'convnext',
    r'stages\.\d+\.layers\.\d+\.depthwise_conv\.(weight|bias)$', (
        Row('stages.{s}.downsample_layers.{n}.{p}', 'downsample_layers.{s}.{n}.{p}'),
        Row(_DINO_BLOCK + 'depthwise_conv.{p}', BLOCK + 'dwconv.{p}'),
        Row(_DINO_BLOCK + 'layer_norm.{p}', BLOCK + 'norm.{p}'),
        Row(_DINO_BLOCK + 'pointwise_conv{n}.{p}', BLOCK + 'pwconv{n}.{p}'),
        Row(_DINO_BLOCK + 'gamma', BLOCK + 'gamma'),
        Row('layer_norm.{p}', 'norm.{p}'), *OUTPUT_NORMS))

MMPRETRAIN = Format(
    'mmpretrain', 'convnext', r'stages\.\d+\.\d+\.depthwise_conv\.(weight|bias)$', (
        *same('downsample_layers.{s}.{n}.{p}', BLOCK + 'norm.{p}', BLOCK + 'gamma'),
        Row(BLOCK + 'depthwise_conv.{p}', BLOCK + 'dwconv.{p}'),
        Row(BLOCK + 'pointwise_conv{n}.{p}', BLOCK + 'pwconv{n}.{p}', linear),
        Row(BLOCK + 'grn.gamma', BLOCK + 'grn.gamma', flat(4), flat(1)),
        Row(BLOCK + 'grn.beta', BLOCK + 'grn.beta', flat(4), flat(1)),
        *OUTPUT_NORMS),
    head='head.fc.{p}', prefix=lambda keys: BACKBONE)
