"""The key formats of published weights, each one table of renames.

A table's row holds the format's name of a tensor and the official one, so the same row renames
both ways. ``{s}``, ``{b}``, ``{n}`` stand for a number (stage, block, place), ``{p}`` for weight
or bias. The official ConvNeXt names are this project's names; for Swin, too, the official names
are the common form through which two formats meet.

Sources: the classes of timm, torchvision, transformers and mmpretrain that carry these names,
and the official releases of ConvNeXt (V1, V2) and Swin.
"""
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch

_FIELDS = {'s': r'\d+', 'b': r'\d+', 'n': r'\d+', 'p': 'weight|bias'}
BACKBONE = 'backbone.'


class Row(NamedTuple):
    """One rename: their name, the official name, and how the values are laid out again."""
    theirs: str
    official: str
    read: Callable = lambda tensor: tensor
    write: Callable | None = lambda tensor: tensor  # None: only read, never written


class Format(NamedTuple):
    """One way to name the tensors of one family of backbones.

    Attributes:
        name (str): what the report and ``--to`` call it.
        family (str): convnext, swin or resnet; only formats of one family fit each other.
        signature (str): regular expression of a key that only this format has.
        rows (tuple[Row]): the renames.
        head (str): name of the classification head where it stands outside the backbone.
        prefix (Callable): official keys -> prefix of the backbone in a file of this format.
    """
    name: str
    family: str
    signature: str
    rows: tuple
    head: str = ''
    prefix: Callable = lambda keys: ''


class Found(NamedTuple):
    """A format recognised in the keys of a file or model, and the prefix of its backbone."""
    format: Format
    prefix: str

    @property
    def root(self):
        """What stands before ``backbone.``, ``neck.``, ``decode_head.`` and so on."""
        return self.prefix[:-len(BACKBONE)] if self.prefix.endswith(BACKBONE) else self.prefix


def _same(*names):
    return tuple(Row(name, name) for name in names)


def _flat(rank):
    """GRN and layer scale: C values whose shape has ``rank`` dimensions, the last C long."""
    return lambda tensor: tensor.reshape((1, ) * (rank - 1) + (-1, ))


def _column(tensor):
    return tensor.reshape(-1, 1, 1)


def _linear(tensor):
    """A pointwise weight, which some models hold as a 1x1 convolution's, as a linear layer's."""
    return tensor.flatten(1) if tensor.ndim == 4 else tensor


def _read_kernel(tensor):
    """A sparse convolution's kernel (K*K, [in,] out) as a dense one (out, in or 1, K, K).

    The sparse layout counts the places of the kernel column by column.
    """
    size = round(tensor.shape[0] ** .5)
    if tensor.ndim == 2:  # depthwise
        tensor = tensor.unsqueeze(1)
    return tensor.permute(2, 1, 0).unflatten(-1, (size, size)).transpose(-2, -1)


def _write_kernel(tensor):
    tensor = tensor.transpose(-2, -1).flatten(-2).permute(2, 1, 0)
    return (tensor.squeeze(1) if tensor.shape[1] == 1 else tensor).contiguous()


_BLOCK = 'stages.{s}.{b}.'
_OUTPUT_NORMS = _same('norm{s}.{p}')
OFFICIAL_ROWS = _same(
    'downsample_layers.{s}.{n}.{p}', _BLOCK + 'dwconv.{p}', _BLOCK + 'norm.{p}',
    _BLOCK + 'gamma', 'norm.{p}', 'head.{p}') + _OUTPUT_NORMS + (
    # DINOv3's official files and EUPE's hold the final norm under two names
    Row('norms.3.{p}', 'norm.{p}', write=None),
    Row(_BLOCK + 'pwconv{n}.{p}', _BLOCK + 'pwconv{n}.{p}', _linear),
    Row(_BLOCK + 'grn.gamma', _BLOCK + 'grn.gamma', _flat(4)),
    Row(_BLOCK + 'grn.beta', _BLOCK + 'grn.beta', _flat(4)))

OFFICIAL = Format('official', 'convnext', r'stages\.\d+\.\d+\.dwconv\.(weight|bias)$',
                  OFFICIAL_ROWS)

# as the training of V2's masked autoencoder writes it; the published files are dense already
FCMAE = Format(
    'fcmae', 'convnext',
    r'stages\.\d+\.\d+\.(dwconv\.kernel|pwconv\d\.linear\.(weight|bias))$', (
        *_same('downsample_layers.0.{n}.{p}', 'norm.{p}', 'head.{p}'),
        Row('downsample_layers.{s}.0.ln.{p}', 'downsample_layers.{s}.0.{p}'),
        Row('downsample_layers.{s}.1.kernel', 'downsample_layers.{s}.1.weight',
            _read_kernel, _write_kernel),
        Row('downsample_layers.{s}.1.bias', 'downsample_layers.{s}.1.bias', _flat(1), _flat(2)),
        Row(_BLOCK + 'dwconv.kernel', _BLOCK + 'dwconv.weight', _read_kernel, _write_kernel),
        Row(_BLOCK + 'dwconv.bias', _BLOCK + 'dwconv.bias', _flat(1), _flat(2)),
        Row(_BLOCK + 'norm.ln.{p}', _BLOCK + 'norm.{p}'),
        Row(_BLOCK + 'pwconv{n}.linear.{p}', _BLOCK + 'pwconv{n}.{p}'),
        Row(_BLOCK + 'grn.gamma', _BLOCK + 'grn.gamma', _flat(4), _flat(2)),
        Row(_BLOCK + 'grn.beta', _BLOCK + 'grn.beta', _flat(4), _flat(2)),
        *_OUTPUT_NORMS),
    prefix=lambda keys: 'encoder.')

_TIMM_BLOCK = 'stages.{s}.blocks.{b}.'
TIMM_ROWS = (
    Row('stem.{n}.{p}', 'downsample_layers.0.{n}.{p}'),
    Row('stages.{s}.downsample.{n}.{p}', 'downsample_layers.{s}.{n}.{p}'),
    Row(_TIMM_BLOCK + 'conv_dw.{p}', _BLOCK + 'dwconv.{p}'),
    Row(_TIMM_BLOCK + 'norm.{p}', _BLOCK + 'norm.{p}'),
    Row(_TIMM_BLOCK + 'mlp.fc{n}.{p}', _BLOCK + 'pwconv{n}.{p}', _linear),
    Row(_TIMM_BLOCK + 'mlp.grn.weight', _BLOCK + 'grn.gamma', _flat(4), _flat(1)),
    Row(_TIMM_BLOCK + 'mlp.grn.bias', _BLOCK + 'grn.beta', _flat(4), _flat(1)),
    Row(_TIMM_BLOCK + 'gamma', _BLOCK + 'gamma'),
    Row('head.norm.{p}', 'norm.{p}'), Row('head.fc.{p}', 'head.{p}'),
    Row('norm_pre.{p}', 'norm.{p}', write=None),
    *_OUTPUT_NORMS)
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
            _flat(1), _column))),
    Row('classifier.0.{p}', 'norm.{p}'), Row('classifier.2.{p}', 'head.{p}'), *_OUTPUT_NORMS))

_HF_BLOCK = 'encoder.stages.{s}.layers.{b}.'
TRANSFORMERS = Format(
    'transformers', 'convnext', r'encoder\.stages\.\d+\.layers\.\d+\.dwconv\.(weight|bias)$', (
        Row('embeddings.patch_embeddings.{p}', 'downsample_layers.0.0.{p}'),
        Row('embeddings.layernorm.{p}', 'downsample_layers.0.1.{p}'),
        Row('encoder.stages.{s}.downsampling_layer.{n}.{p}', 'downsample_layers.{s}.{n}.{p}'),
        Row(_HF_BLOCK + 'dwconv.{p}', _BLOCK + 'dwconv.{p}'),
        Row(_HF_BLOCK + 'layernorm.{p}', _BLOCK + 'norm.{p}'),
        Row(_HF_BLOCK + 'pwconv{n}.{p}', _BLOCK + 'pwconv{n}.{p}'),
        Row(_HF_BLOCK + 'grn.weight', _BLOCK + 'grn.gamma', _flat(4), _flat(4)),
        Row(_HF_BLOCK + 'grn.bias', _BLOCK + 'grn.beta', _flat(4), _flat(4)),
        Row(_HF_BLOCK + 'grn.gamma', _BLOCK + 'grn.gamma', _flat(4), None),
        Row(_HF_BLOCK + 'grn.beta', _BLOCK + 'grn.beta', _flat(4), None),
        Row(_HF_BLOCK + 'layer_scale_parameter', _BLOCK + 'gamma'),
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
        Row(_DINO_BLOCK + 'depthwise_conv.{p}', _BLOCK + 'dwconv.{p}'),
        Row(_DINO_BLOCK + 'layer_norm.{p}', _BLOCK + 'norm.{p}'),
        Row(_DINO_BLOCK + 'pointwise_conv{n}.{p}', _BLOCK + 'pwconv{n}.{p}'),
        Row(_DINO_BLOCK + 'gamma', _BLOCK + 'gamma'),
        Row('layer_norm.{p}', 'norm.{p}'), *_OUTPUT_NORMS))

MMPRETRAIN = Format(
    'mmpretrain', 'convnext', r'stages\.\d+\.\d+\.depthwise_conv\.(weight|bias)$', (
        *_same('downsample_layers.{s}.{n}.{p}', _BLOCK + 'norm.{p}', _BLOCK + 'gamma'),
        Row(_BLOCK + 'depthwise_conv.{p}', _BLOCK + 'dwconv.{p}'),
        Row(_BLOCK + 'pointwise_conv{n}.{p}', _BLOCK + 'pwconv{n}.{p}', _linear),
        Row(_BLOCK + 'grn.gamma', _BLOCK + 'grn.gamma', _flat(4), _flat(1)),
        Row(_BLOCK + 'grn.beta', _BLOCK + 'grn.beta', _flat(4), _flat(1)),
        *_OUTPUT_NORMS),
    head='head.fc.{p}', prefix=lambda keys: BACKBONE)

_SWIN = 'layers.{s}.blocks.{b}.'
_TABLE, _INDEX = 'attn.relative_position_bias_table', 'attn.relative_position_index'
SWIN = Format('swin', 'swin', r'layers\.\d+\.blocks\.\d+\.attn\.qkv\.(weight|bias)$', _same(
    'patch_embed.proj.{p}', 'patch_embed.norm.{p}', _SWIN + 'norm{n}.{p}', _SWIN + 'attn.qkv.{p}',
    _SWIN + 'attn.proj.{p}', _SWIN + _TABLE, _SWIN + _INDEX, _SWIN + 'attn_mask',
    _SWIN + 'mlp.fc{n}.{p}', 'layers.{s}.downsample.reduction.weight',
    'layers.{s}.downsample.norm.{p}', 'norm.{p}', 'head.{p}') + _OUTPUT_NORMS)

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
        *_same('patch_embed.norm.{p}', 'norm.{p}', 'head.{p}'),
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
        *_OUTPUT_NORMS))

# torchvision's names, which mmdet and mmseg keep
RESNET = Format('resnet', 'resnet', r'layer\d+\.\d+\.conv\d+\.weight$', ())

FORMATS = {fmt.name: fmt for fmt in (
    OFFICIAL, FCMAE, TIMM, TIMM_FEATURES, TORCHVISION, TRANSFORMERS,
    TRANSFORMERS_DINOV3, MMPRETRAIN, SWIN, MM_SWIN, RESNET)}

# What a published file holds beside the backbone, in official names: the classification head and
# final norm, buffers that the model computes itself, the decoder of the masked autoencoder, the
# projectors of EUPE's distillation
LEFTOVERS = re.compile(
    r'(norm|head|head_dist|fc|classifier)\.|norm\d+\.(weight|bias)$'
    r'|(mask_token|proj|pred|decoder|projectors)\b'
    r'|.*\.(attn_mask|relative_position_index|num_batches_tracked)$')
OUTPUT_NORM = re.compile(r'norm\d+\.')
COMPUTED = re.compile(r'.*\.(relative_position_index|num_batches_tracked)$')


def _pattern(template):
    parts = re.split(r'\{(\w)\}', template)
    return re.compile(''.join(f'(?P<{part}>{_FIELDS[part]})' if place % 2 else re.escape(part)
                              for place, part in enumerate(parts)))


_compiled: dict[str, dict] = {}


def _rename(key, fmt, source, target):
    """The row of ``fmt`` that knows ``key`` in column ``source``, and its name in ``target``."""
    if fmt.name not in _compiled:
        _compiled[fmt.name] = {column: [(_pattern(getattr(row, column)), row) for row in fmt.rows]
                               for column in ('theirs', 'official')}
    for pattern, row in _compiled[fmt.name][source]:
        if source == 'official' and row.write is None:
            continue
        match = pattern.fullmatch(key)
        if match:
            return row, getattr(row, target).format(**match.groupdict())
    return None, key


def recognise(keys):
    """The format of a file or model, from its keys alone.

    Args:
        keys (Iterable[str]): names of the tensors; a few may be missing or foreign.

    Returns:
        Found | None: None where no format is recognised.
    """
    votes = Counter()
    for key in keys:
        for fmt in FORMATS.values():
            match = re.search(r'(?:^|(?<=\.))' + fmt.signature, key)
            if match:
                votes[fmt.name, key[:match.start()]] += 1
    if not votes:
        return None
    # several backbones in one file (a teacher's): the one under the shortest prefix
    (name, prefix), _ = max(votes.items(), key=lambda item: (item[1], -len(item[0][1])))
    return Found(FORMATS[name], prefix)


def to_official(state, found):
    """The tensors of a file under official names.

    Args:
        state (dict): names and tensors.
        found (Found): what :func:`recognise` said of them.

    Returns:
        tuple: (backbone, rest): the backbone's tensors under official names (unknown ones under
        their own), and the tensors outside of the backbone with ``found.root`` taken away.
    """
    fmt, backbone, rest = found.format, {}, {}
    classifier = fmt is MMPRETRAIN and f'{found.prefix}norm0.weight' not in state
    head = _pattern(fmt.head) if fmt.head else None
    for key, tensor in state.items():
        if not key.startswith(found.prefix):
            match = head and head.fullmatch(key.removeprefix(found.root))
            if match:
                backbone['head.' + match['p']] = tensor
            else:
                rest[key.removeprefix(found.root)] = tensor
            continue
        row, name = _rename(key[len(found.prefix):], fmt, 'theirs', 'official')
        if classifier and name.startswith('norm3.'):
            name = name.replace('norm3.', 'norm.')  # mmpretrain's final norm
        backbone[name] = row.read(tensor) if row else tensor
    return backbone, rest


def from_official(backbone, fmt, prefix=''):
    """A backbone under official names in the names of another format.

    Args:
        backbone (dict): official names and tensors; unknown ones keep their names.
        fmt (Format): the format.
        prefix (str): put before every name but the head's.

    Returns:
        dict: names and tensors.
    """
    state = {}
    classifier = fmt is MMPRETRAIN and 'norm0.weight' not in backbone
    for key, tensor in backbone.items():
        if fmt.head and key.startswith('head.'):
            state[fmt.head.format(p=key[5:])] = tensor
            continue
        if classifier and key.startswith('norm.'):
            key = key.replace('norm.', 'norm3.')
        row, name = _rename(key, fmt, 'official', 'theirs')
        state[prefix + name] = row.write(tensor) if row else tensor
    return state


def fit(key, tensor, shape):
    """A tensor in the shape that the model wants, where the values allow it, else None.

    Linear layers and 1x1 convolutions, layer scales and GRN's parameters differ between formats
    in dimensions of size 1 only. Swin's position tables are resized to another window, as the
    official release does.
    """
    if tensor.shape == shape:
        return tensor
    if [n for n in tensor.shape if n > 1] == [n for n in shape if n > 1]:
        return tensor.reshape(shape)
    if key.endswith('relative_position_bias_table') and tensor.shape[1:] == shape[1:]:
        old, new = round(tensor.shape[0] ** .5), round(shape[0] ** .5)
        if old ** 2 == tensor.shape[0] and new ** 2 == shape[0]:
            grid = tensor.float().T.reshape(1, -1, old, old)
            grid = torch.nn.functional.interpolate(grid, size=(new, new), mode='bicubic')
            return grid.reshape(-1, new * new).T.to(tensor.dtype)
    return None
