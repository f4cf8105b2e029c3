"""The tables against what each project's own code builds.

Every peer is built by its own classes; the official layouts, which no package carries, are
computed from their documentation with torch's functions alone.
"""
from itertools import product

import peers
import pytest
import torch
import torch.nn.functional as F
from tiny_weights import (
    CHANNELS,
    CLASSES,
    CONVNEXT_FORMATS,
    DEPTHS,
    VERSIONS,
    convnext,
    convnext_file,
    official_state,
    randomise,
    swin,
)

from convnext_dense.checkpoints import FORMATS, load_weights, recognise
from convnext_dense.checkpoints.export import convert_state
from convnext_dense.checkpoints.formats import from_official, to_official

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def timm(version):
    peers.import_timm()
    from timm.models.convnext import ConvNeXt
    model = ConvNeXt(depths=DEPTHS, dims=CHANNELS, num_classes=CLASSES, use_grn=version == 'v2',
                     ls_init_value=None if version == 'v2' else 1e-6)

    def features(x):
        x = model.stem(x)
        return [x := stage(x) for stage in model.stages]
    return model, features


def timm_conv(version):
    """timm's models with 1x1 convolutions, such as its small V1 sizes."""
    peers.import_timm()
    from timm.models.convnext import ConvNeXt
    model = ConvNeXt(depths=DEPTHS, dims=CHANNELS, num_classes=CLASSES, conv_mlp=True,
                     use_grn=version == 'v2', ls_init_value=None if version == 'v2' else 1e-6)

    def features(x):
        x = model.stem(x)
        return [x := stage(x) for stage in model.stages]
    return model, features


def timm_features(version):
    """features_only=True."""
    timm = peers.import_timm()
    model = timm.create_model(
        'convnextv2_atto' if version == 'v2' else 'convnext_atto', depths=DEPTHS, dims=CHANNELS,
        conv_mlp=False, features_only=True)
    return model, model


def torchvision(version):
    peers.import_torchvision()
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    if version == 'v2':
        pytest.skip('torchvision has no ConvNeXt V2')
    following = (*CHANNELS[1:], None)
    model = ConvNeXt([CNBlockConfig(*args) for args in zip(CHANNELS, following, DEPTHS)],
                     num_classes=CLASSES)

    def features(x):
        maps = [x := layer(x) for layer in model.features]
        return maps[1::2]
    return model, features


def transformers(version):
    peers.import_transformers()
    import transformers
    name = 'ConvNextV2' if version == 'v2' else 'ConvNext'
    config = getattr(transformers, f'{name}Config')(
        hidden_sizes=list(CHANNELS), depths=list(DEPTHS), num_labels=CLASSES)
    model = getattr(transformers, f'{name}ForImageClassification')(config)
    base = getattr(model, name.lower())

    def features(x):
        x = base.embeddings(x)
        return [x := stage(x) for stage in base.encoder.stages]
    return model, features


def mmpretrain(version):
    peers.import_mmpretrain()
    from mmpretrain.models.backbones import ConvNeXt
    from mmpretrain.models.heads import LinearClsHead
    arch = dict(depths=list(DEPTHS), channels=list(CHANNELS))
    backbone = ConvNeXt(arch, use_grn=version == 'v2', out_indices=(3, ),
                        layer_scale_init_value=0 if version == 'v2' else 1e-6)
    model = torch.nn.ModuleDict(dict(backbone=backbone, head=LinearClsHead(CLASSES, CHANNELS[-1])))

    def features(x):
        maps = []
        for downsample, stage in zip(backbone.downsample_layers, backbone.stages):
            maps.append(x := stage(downsample(x)))
        return maps
    return model, features


def official(version):
    """The official layout, computed as its documentation and the papers say."""
    state = official_state(version)

    def norm(x, name):  # channels last
        return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], 1e-6)

    def norm_first(x, name):
        return norm(x.permute(0, 2, 3, 1), name).permute(0, 3, 1, 2)

    def conv(x, name, **kwargs):
        return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'], **kwargs)

    def linear(x, name):
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def features(x):
        maps = []
        for stage, depth in enumerate(DEPTHS):
            first, second = f'downsample_layers.{stage}.0', f'downsample_layers.{stage}.1'
            x = norm_first(conv(x, first, stride=4), second) if stage == 0 else \
                conv(norm_first(x, first), second, stride=2)
            for block in range(depth):
                name = f'stages.{stage}.{block}'
                y = conv(x, f'{name}.dwconv', padding=3, groups=x.shape[1]).permute(0, 2, 3, 1)
                y = F.gelu(linear(norm(y, f'{name}.norm'), f'{name}.pwconv1'))
                if version == 'v2':
                    gx = y.norm(p=2, dim=(1, 2), keepdim=True)
                    nx = gx / (gx.mean(dim=-1, keepdim=True) + 1e-6)
                    y = state[f'{name}.grn.gamma'] * (y * nx) + state[f'{name}.grn.beta'] + y
                y = linear(y, f'{name}.pwconv2')
                if version == 'v1':
                    y = state[f'{name}.gamma'] * y
                x = x + y.permute(0, 3, 1, 2)
            maps.append(x)
        return maps
    return state, features


BUILDERS = [official, timm, timm_conv, timm_features, torchvision, transformers, mmpretrain]


@pytest.mark.parametrize('build, version', product(BUILDERS, VERSIONS))
def test_features_equal_those_of_the_peer_after_loading(build, version):
    peer, features = build(version)
    if isinstance(peer, dict):
        state = peer
    else:
        state = randomise(peer).state_dict()
    ours = convnext(version)
    report = load_weights(ours, state)
    assert report.format == build.__name__.replace('timm_conv', 'timm').replace('_', '-')
    assert all(name.startswith(('norm', 'head')) for name in report.missing + report.unexpected)
    with torch.no_grad():
        expected = features(IMAGES)
        for stage, (x, y) in enumerate(zip(expected, ours(IMAGES), strict=True)):
            x = getattr(ours, f'norm{stage}')(x)
            assert x.std() > .5  # the comparison is not one of zeros
            torch.testing.assert_close(y, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize('version', VERSIONS)
def test_mmpretrain_s_dense_backbone_gives_the_same_normalised_maps(version):
    peers.import_mmpretrain()
    from mmpretrain.models.backbones import ConvNeXt
    peer = randomise(ConvNeXt(dict(depths=list(DEPTHS), channels=list(CHANNELS)),
                              use_grn=version == 'v2', out_indices=(0, 1, 2, 3),
                              layer_scale_init_value=0 if version == 'v2' else 1e-6,
                              gap_before_final_norm=False))
    ours = convnext(version)
    assert not load_weights(ours, peer.state_dict()).missing
    with torch.no_grad():
        for x, y in zip(peer(IMAGES), ours(IMAGES), strict=True):
            torch.testing.assert_close(y, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize('version', VERSIONS)
def test_transformers_backbone_gives_the_same_normalised_maps(version):
    peers.import_transformers()
    import transformers
    name = 'ConvNextV2' if version == 'v2' else 'ConvNext'
    config = getattr(transformers, f'{name}Config')(
        hidden_sizes=list(CHANNELS), depths=list(DEPTHS),
        out_features=[f'stage{stage}' for stage in (1, 2, 3, 4)])
    peer = randomise(getattr(transformers, f'{name}Backbone')(config))
    ours = convnext(version)
    assert not load_weights(ours, peer.state_dict()).missing
    with torch.no_grad():
        for x, y in zip(peer(IMAGES).feature_maps, ours(IMAGES), strict=True):
            torch.testing.assert_close(y, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize('build, version', product(
    [timm, torchvision, transformers, mmpretrain], VERSIONS))
def test_an_exported_model_loads_into_the_peer_strictly(build, version):
    peer, features = build(version)
    state = official_state(version)
    exported, _, _ = convert_state(state, build.__name__)
    peer.load_state_dict(exported, strict=True)
    again, _ = to_official(peer.state_dict(), recognise(peer.state_dict()))
    assert set(again) == set(state)
    for key, tensor in state.items():
        assert torch.equal(again[key], tensor), key


@pytest.mark.parametrize('name, version', product(CONVNEXT_FORMATS, VERSIONS))
def test_round_trips_are_exact(name, version):
    if (name, version) == ('torchvision', 'v2'):
        pytest.skip('torchvision has no ConvNeXt V2')
    file = convnext_file(name, version)
    found = recognise(file)
    assert found.format.name == name
    backbone, rest = to_official(file, found)
    assert not rest
    expected = official_state(version)
    assert set(backbone) == set(expected)
    for key, tensor in expected.items():
        assert torch.equal(backbone[key], tensor), key
    again = from_official(backbone, found.format, found.prefix)
    assert list(again) == list(file)
    for key, tensor in file.items():
        assert torch.equal(again[key], tensor) and again[key].shape == tensor.shape, key


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.', 'model.backbone.'])
@pytest.mark.parametrize('name', CONVNEXT_FORMATS)
def test_the_format_is_recognised_under_any_prefix(name, prefix):
    file = {prefix + key: value for key, value in convnext_file(name).items()}
    found = recognise(file)
    assert found.format.name == name
    own = FORMATS[name].prefix(official_state())
    assert found.prefix == prefix + own


def test_names_of_nothing_known_are_not_recognised():
    assert recognise(['conv1.weight', 'fc.weight']) is None
    assert recognise([]) is None


def test_sparse_kernels_of_fcmae_are_counted_column_by_column():
    """As the official remap does: place k of 49 is row k % 7 and column k // 7."""
    file = convnext_file('fcmae', 'v2')
    kernel = file['encoder.stages.0.0.dwconv.kernel']
    assert kernel.shape == (49, CHANNELS[0])
    assert file['encoder.stages.0.0.dwconv.bias'].shape == (1, CHANNELS[0])
    assert file['encoder.stages.0.0.grn.gamma'].shape == (1, 4 * CHANNELS[0])
    assert file['encoder.downsample_layers.1.1.kernel'].shape == (4, *CHANNELS[:2])
    weight = to_official(file, recognise(file))[0]['stages.0.0.dwconv.weight']
    for place, channel in ((0, 0), (1, 2), (8, 3), (30, 7), (48, 5)):
        assert weight[channel, 0, place % 7, place // 7] == kernel[place, channel]
    down = file['encoder.downsample_layers.1.1.kernel']
    weight = to_official(file, recognise(file))[0]['downsample_layers.1.1.weight']
    assert weight[5, 3, 1, 0] == down[1, 3, 5] and weight[5, 3, 0, 1] == down[2, 3, 5]


def test_published_fcmae_files_are_dense_but_for_grn():
    """The published files went through half of the remap: GRN still has the shape (1, C)."""
    state = {key: value for key, value in official_state('v2').items()
             if not key.startswith(('norm', 'head'))}
    file = {key: value.reshape(1, -1) if '.grn.' in key else value for key, value in state.items()}
    ours = convnext('v2')
    report = load_weights(ours, dict(model=file))
    assert report.format == 'official' and report.loaded == list(file)
    loaded = ours.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


# -- Swin ----------------------------------------------------------------------------------------


def test_swin_equals_mmdet_s_own_conversion():
    from mmdet.models.backbones.swin import swin_converter
    state = randomise(swin()).state_dict()
    official, _ = to_official(state, recognise(state))
    assert recognise(official).format.name == 'swin'
    expected = swin_converter(official)
    assert {f'backbone.{key}' for key in state} == set(expected)
    assert all(torch.equal(state[key[9:]], value) for key, value in expected.items())


def test_swin_round_trips_are_exact():
    state = randomise(swin()).state_dict()
    found = recognise(state)
    official, _ = to_official(state, found)
    again = from_official(official, found.format)
    assert set(again) == set(state)
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_swin_s_patch_merging_gives_the_official_values():
    """The official module concatenates the strided views x[0::2], x[1::2] and so on."""
    model = randomise(swin())
    merging = model.stages[0].downsample
    state = {key: value for key, value in model.state_dict().items()}
    official, _ = to_official(state, recognise(state))
    x = torch.randn(1, 6 * 4, 8)
    expected, _ = merging(x, (6, 4))
    grid = x.reshape(1, 6, 4, 8)
    patches = [grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    y = torch.cat(patches, -1).reshape(1, -1, 32)
    name = 'layers.0.downsample.'
    y = F.layer_norm(y, (32, ), official[f'{name}norm.weight'], official[f'{name}norm.bias'])
    y = F.linear(y, official[f'{name}reduction.weight'])
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)


def test_swin_s_index_is_the_official_one():
    """So it does not matter whose is kept."""
    coords = torch.stack(torch.meshgrid(torch.arange(3), torch.arange(3), indexing='ij')).flatten(1)
    relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0) + 2
    expected = relative[..., 0] * 5 + relative[..., 1]
    index = swin().state_dict()['stages.0.blocks.0.attn.w_msa.relative_position_index']
    assert torch.equal(index, expected)
