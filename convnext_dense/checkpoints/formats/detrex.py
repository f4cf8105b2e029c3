"""detrex's DINO: the names of neck, transformer and heads as mmdet has them.

Its ConvNeXt has the official names. For the same predictions mmdet's model needs what detrex sets:
``neck.bias=True`` and ``positional_encoding=dict(temperature=10000, offset=-0.5)``.

Source: detrex, projects/dino/modeling and detrex/layers.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from convnext_dense.checkpoints.formats.tables import Row, pattern, same

if TYPE_CHECKING:
    from torch import Tensor

SIGNATURE = 'transformer.encoder.layers.0.attentions.0.sampling_offsets.weight'
_ENCODER, _DECODER = 'encoder.layers.{n}.', 'decoder.layers.{n}.'
_DEFORMABLE = ('sampling_offsets', 'attention_weights', 'value_proj', 'output_proj')
_LAYERS = (
    *((f'{part}attentions.{place}.{name}.{{p}}', f'{part}{attention}.{name}.{{p}}')
      for part, place, attention in ((_ENCODER, 0, 'self_attn'), (_DECODER, 1, 'cross_attn'))
      for name in _DEFORMABLE),
    *((f'{part}ffns.0.layers.{place}.{{p}}', f'{part}ffn.layers.{place}.{{p}}')
      for part in (_ENCODER, _DECODER) for place in ('0.0', '1')),
    *((f'{part}norms.{{b}}.{{p}}', f'{part}norms.{{b}}.{{p}}') for part in (_ENCODER, _DECODER)),
    *((f'{_DECODER}attentions.0.attn.{name}', f'{_DECODER}self_attn.attn.{name}')
      for name in ('in_proj_{p}', 'out_proj.{p}')),
    ('decoder.ref_point_head.layers.{n}.{p}', ) * 2, ('decoder.norm.{p}', ) * 2,
    ('level_embeds', 'level_embed'), ('tgt_embed.weight', 'query_embedding.weight'),
    ('enc_output.{p}', 'memory_trans_fc.{p}'), ('enc_output_norm.{p}', 'memory_trans_norm.{p}'))
# the decoder names the heads a second time
_HEADS = tuple(row for prefix in ('', 'transformer.decoder.') for row in (
    Row(f'{prefix}class_embed.{{n}}.{{p}}', 'bbox_head.cls_branches.{n}.{p}'),
    *(Row(f'{prefix}bbox_embed.{{n}}.layers.{layer}.{{p}}',
          f'bbox_head.reg_branches.{{n}}.{2 * layer}.{{p}}') for layer in range(3))))
ROWS = (
    *same('neck.convs.{n}.conv.{p}', 'neck.extra_convs.{n}.conv.{p}'),
    Row('neck.convs.{n}.norm.{p}', 'neck.convs.{n}.gn.{p}'),
    Row('neck.extra_convs.{n}.norm.{p}', 'neck.extra_convs.{n}.gn.{p}'),
    *(Row(f'transformer.{theirs}', ours) for theirs, ours in _LAYERS), *_HEADS,
    Row('label_enc.weight', 'dn_query_generator.label_embedding.weight'))
_PATTERNS = [(pattern(row.theirs), row) for row in ROWS]


def from_detrex(rest: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file holds outside of its backbone, in mmdet's names where detrex wrote it.

    Args:
        rest (dict): names and tensors; those that detrex's DINO does not have stay as they are.
    """
    return {_mmdet(name): tensor for name, tensor in rest.items()} if SIGNATURE in rest else rest


def _mmdet(name):
    for expression, row in _PATTERNS:
        match = expression.fullmatch(name)
        if match:
            return row.official.format(**match.groupdict())
    return name
