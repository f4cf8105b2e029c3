"""The official releases: ConvNeXt V1 and V2, DINOv3, EUPE, and V2's pre-training code."""
from convnext_dense.checkpoints.formats.tables import (
    Format,
    Row,
    flat,
    linear,
    read_kernel,
    same,
    write_kernel,
)

BLOCK = 'stages.{s}.{b}.'
OUTPUT_NORMS = same('norm{s}.{p}')
OFFICIAL_ROWS = same(
    'downsample_layers.{s}.{n}.{p}', BLOCK + 'dwconv.{p}', BLOCK + 'norm.{p}',
    BLOCK + 'gamma', 'norm.{p}', 'head.{p}') + OUTPUT_NORMS + (
    # DINOv3's official files and EUPE's hold the final norm under two names
    Row('norms.3.{p}', 'norm.{p}', write=None),
    Row(BLOCK + 'pwconv{n}.{p}', BLOCK + 'pwconv{n}.{p}', linear),
    Row(BLOCK + 'grn.gamma', BLOCK + 'grn.gamma', flat(4)),
    Row(BLOCK + 'grn.beta', BLOCK + 'grn.beta', flat(4)))

OFFICIAL = Format('official', 'convnext', r'stages\.\d+\.\d+\.dwconv\.(weight|bias)$',
                  OFFICIAL_ROWS)

# as the training of V2's masked autoencoder writes it; the published files are dense already
FCMAE = Format(
    'fcmae', 'convnext',
    r'stages\.\d+\.\d+\.(dwconv\.kernel|pwconv\d\.linear\.(weight|bias))$', (
        *same('downsample_layers.0.{n}.{p}', 'norm.{p}', 'head.{p}'),
        Row('downsample_layers.{s}.0.ln.{p}', 'downsample_layers.{s}.0.{p}'),
        Row('downsample_layers.{s}.1.kernel', 'downsample_layers.{s}.1.weight',
            read_kernel, write_kernel),
        Row('downsample_layers.{s}.1.bias', 'downsample_layers.{s}.1.bias', flat(1), flat(2)),
        Row(BLOCK + 'dwconv.kernel', BLOCK + 'dwconv.weight', read_kernel, write_kernel),
        Row(BLOCK + 'dwconv.bias', BLOCK + 'dwconv.bias', flat(1), flat(2)),
        Row(BLOCK + 'norm.ln.{p}', BLOCK + 'norm.{p}'),
        Row(BLOCK + 'pwconv{n}.linear.{p}', BLOCK + 'pwconv{n}.{p}'),
        Row(BLOCK + 'grn.gamma', BLOCK + 'grn.gamma', flat(4), flat(2)),
        Row(BLOCK + 'grn.beta', BLOCK + 'grn.beta', flat(4), flat(2)),
        *OUTPUT_NORMS),
    prefix=lambda keys: 'encoder.')
