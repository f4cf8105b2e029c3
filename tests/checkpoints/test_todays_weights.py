"""DINOv3, EUPE, OpenCLIP and the wrappers of today's trainers, against their own code's models."""
import peers
import pytest
import torch
from tiny_weights import CHANNELS, DEPTHS, Detector, convnext, official_state, randomise

from convnext_dense.checkpoints import load_weights, read_checkpoint
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.errors import InputError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def features(model, x):
    """The maps of the stages, before any output norm."""
    maps = []
    for downsample, stage in zip(model.downsample_layers, model.stages):
        maps.append(x := stage(downsample(x)))
    return maps


def transformers_dinov3():
    transformers = peers.import_transformers()
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=list(CHANNELS), depths=list(DEPTHS))
    return randomise(transformers.DINOv3ConvNextModel(config))


def test_transformers_dinov3_gives_the_same_maps_and_the_same_final_norm(tmp_path):
    peer = transformers_dinov3()
    peer.save_pretrained(tmp_path)
    model = convnext(out_indices=(3, ))
    report = load_weights(model, tmp_path)
    assert report.format == 'transformers-dinov3' and not report.missing
    with torch.no_grad():
        out = peer(IMAGES)
        # transformers puts the mean before the map's pixels, and one norm over both
        map_ = out.last_hidden_state[:, 1:].transpose(1, 2).reshape(2, CHANNELS[-1], 2, 2)
        torch.testing.assert_close(model(IMAGES)[0], map_, rtol=1e-5, atol=1e-5)


def test_an_export_loads_into_transformers_dinov3_strictly(tmp_path):
    torch.save(official_state(), tmp_path / 'a.pth')
    convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.safetensors', to='transformers-dinov3')
    state = {key: value for key, value in
             read_checkpoint(tmp_path / 'b.safetensors')['state_dict'].items()
             if not key.startswith('head.')}
    peer = transformers_dinov3()
    peer.load_state_dict(state)
    model = convnext()
    load_weights(model, tmp_path / 'a.pth')
    x = IMAGES
    with torch.no_grad():
        for stage, expected in zip(peer.stages, features(model, IMAGES)):
            x = stage(x)
            torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def dinov3_official():
    """``norm`` under its own name and as ``norms.3``; no head."""
    state = {key: value for key, value in official_state().items() if not key.startswith('head.')}
    return {**state, 'norms.3.weight': state['norm.weight'], 'norms.3.bias': state['norm.bias']}


@pytest.mark.parametrize('more', [{}, {'projectors.a.0.weight': torch.ones(3, 3)}])
def test_dinov3_s_official_layout_and_eupe_s_projectors_load(more, tmp_path):
    torch.save({**dinov3_official(), **more}, tmp_path / 'a.pth')
    model = convnext()
    assert load_weights(model, tmp_path / 'a.pth').format == 'official'
    state = official_state()
    assert torch.equal(model.state_dict()['stages.3.0.gamma'], state['stages.3.0.gamma'])
    assert torch.equal(model.norm3.weight, torch.ones(CHANNELS[-1]))


def test_the_final_norm_becomes_the_last_output_s_where_it_is_the_only_one(tmp_path):
    torch.save(dinov3_official(), tmp_path / 'a.pth')
    model = convnext(out_indices=(3, ))
    report = load_weights(model, tmp_path / 'a.pth')
    assert not report.missing and 'norm3.weight' in report.loaded
    state = official_state()
    with torch.no_grad():
        map_ = features(model, IMAGES)[-1].permute(0, 2, 3, 1)
        expected = torch.nn.functional.layer_norm(
            map_, CHANNELS[-1:], state['norm.weight'], state['norm.bias'], 1e-6)
        torch.testing.assert_close(model(IMAGES)[0], expected.permute(0, 3, 1, 2))


def open_clip():
    """open_clip's own CLIP with a ConvNeXt of timm as its image tower."""
    return randomise(peers.import_open_clip().CLIP(
        embed_dim=8, vision_cfg=dict(timm_model_name='convnext_atto', timm_pool='',
                                     timm_proj='linear', image_size=64),
        text_cfg=dict(context_length=4, vocab_size=16, width=8, heads=2, layers=1)))


def test_openclip_s_image_tower_loads_and_the_text_tower_is_dropped(tmp_path):
    from convnext_dense.models import ConvNeXt
    clip = open_clip()
    # as its training code writes a run of several processes
    torch.save(dict(epoch=1, name='run', state_dict={
        f'module.{key}': value for key, value in clip.state_dict().items()}), tmp_path / 'clip.pt')
    model = ConvNeXt('atto', linear_pw_conv=False).eval()  # as timm's has it
    assert load_weights(model, tmp_path / 'clip.pt').format == 'timm'
    # float64: what differs is the mapping, not the rounding
    x, trunk = IMAGES.double(), clip.visual.trunk.double()
    with torch.no_grad():
        found = features(model.double(), x)
        x = trunk.stem(x)
        for stage, expected in zip(trunk.stages, found):
            x = stage(x)
            assert x.std() > .1
            torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def test_xxlarge_has_the_eps_of_openclip_s(monkeypatch):
    """Of every norm; no other published size has another eps than 1e-6."""
    from convnext_dense.models import ConvNeXt
    timm = peers.import_timm()
    for arch, eps in dict(xxlarge=1e-5, tiny=1e-6).items():
        with torch.device('meta'):
            models = timm.create_model(f'convnext_{arch}'), ConvNeXt(arch)
        for model in models:
            assert {module.eps for module in model.modules() if hasattr(module, 'eps')} == {eps}
    own = ConvNeXt(dict(depths=DEPTHS, channels=CHANNELS, norm_eps=1e-4))
    assert own.norm3.eps == own.downsample_layers[0][1].eps == 1e-4


def timm_names():
    """timm's ConvNeXts whose maths is this project's: not those with overlapping patches or RMS
    norms, nor its three for tests (other activations and kernels)."""
    names = peers.import_timm().list_models('convnext*')
    return [name for name in names if not name.endswith(('_ols', '_rms'))]


def test_every_tensor_of_timm_s_models_has_its_place():
    """In names and shapes, with no memory for the weights."""
    from convnext_dense.checkpoints.loading import match
    from convnext_dense.models import ConvNeXt
    timm = peers.import_timm()
    names = timm_names()
    assert len(names) > 20
    for name in names:
        version, arch = name.removesuffix('_mlp').removesuffix('_hnf').split('_')
        with torch.device('meta'):
            state = timm.create_model(name).state_dict()
            model = ConvNeXt(arch, init_cfg={}, use_grn=version == 'convnextv2',
                             layer_scale_init_value=0 if version == 'convnextv2' else 1.)
        report, _ = match(model.state_dict(), state, name)
        assert set(report.missing) == {key for key in model.state_dict() if key.startswith('norm')}


@pytest.mark.parametrize('wrap', [
    'model.{}', 'module.{}', '_orig_mod.{}', 'model._orig_mod.{}', 'module._orig_mod.{}',
    '_fsdp_wrapped_module.{}', 'model.backbone._orig_mod.{}'])
def test_names_of_lightning_compile_and_fsdp_are_seen_through(wrap, tmp_path):
    state = official_state()
    torch.save(dict(state_dict={wrap.format(key): value for key, value in state.items()},
                    epoch=3), tmp_path / 'a.ckpt')
    model = convnext()
    load_weights(model, tmp_path / 'a.ckpt')
    assert torch.equal(model.stages[2][1].gamma, state['stages.2.1.gamma'])


def test_wrappers_inside_of_a_detector_are_seen_through(tmp_path):
    model = randomise(Detector(convnext()))
    state = {key.replace('stages.0.', 'stages._fsdp_wrapped_module.0._orig_mod.'): value
             for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / 'a.pth')
    other = Detector(convnext())
    assert not load_weights(other, tmp_path / 'a.pth').missing
    assert torch.equal(other.backbone.stages[0][0].gamma, model.backbone.stages[0][0].gamma)


def test_a_name_that_two_tensors_have_is_named(tmp_path):
    torch.save({'_orig_mod.a': torch.ones(1), 'a': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='holds a twice'):
        load_weights(convnext(), tmp_path / 'a.pth')


def test_detrex_s_detector_gives_its_backbone(tmp_path):
    """detectron2's way: ``model``, with a backbone of official names and all four norms."""
    model = randomise(convnext())
    state = {f'backbone.{key}': value for key, value in model.state_dict().items()}
    state.update({'neck.convs.0.conv.weight': torch.ones(2, 2, 1, 1),
                  'transformer.encoder.layers.0.norms.0.weight': torch.ones(3),
                  'class_embed.0.weight': torch.ones(80, 3)})
    torch.save(dict(model=state, iteration=90000), tmp_path / 'a.pth')
    other = convnext(out_indices=(1, 2, 3))
    report = load_weights(other, tmp_path / 'a.pth')
    assert not report.missing
    with torch.no_grad():
        for out, expected in zip(other(IMAGES), model(IMAGES)[1:]):
            assert torch.equal(out, expected)
