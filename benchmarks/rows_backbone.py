"""Rows: the backbone alone, ConvNeXt-T and ConvNeXt V2-T on 2 images of 256x256."""
from functools import partial

import torch
from torch import nn

from benchmarks.packages import import_mmpretrain, import_timm
from benchmarks.rows import Side, row

V1 = dict(arch='tiny', layer_scale_init_value=1.)
V2 = dict(arch='tiny', use_grn=True, layer_scale_init_value=0.)
SHAPE = (2, 3, 256, 256)


def state_of(options):
    """Random weights under the official names; GRN and layer scale do something."""
    from convnext_dense.models import ConvNeXt
    torch.manual_seed(0)
    model = ConvNeXt(**options)
    for name, parameter in model.named_parameters():
        if 'grn' in name or name.endswith('.gamma'):
            nn.init.normal_(parameter, .5, .1)
    return model.state_dict()


def ours(options):
    from convnext_dense.models import ConvNeXt
    model = ConvNeXt(**options)
    model.load_state_dict(state_of(options))
    return model


def mmpretrain(options):
    """As the configs of mmdet and mmseg build it."""
    import_mmpretrain()
    from mmpretrain.models.backbones import ConvNeXt
    return _load(ConvNeXt(**options, out_indices=(0, 1, 2, 3), gap_before_final_norm=False),
                 options, 'mmpretrain')


def official(options):
    from benchmarks.official_form import OfficialForm
    model = OfficialForm(**options)
    model.load_state_dict(state_of(options))
    return model


class TimmFeatures(nn.Module):
    """timm's ``features_only`` model and the norms of its outputs, which the recipes add to it."""

    def __init__(self, options):
        super().__init__()
        from convnext_dense.models.layers import LayerNorm2d
        name = 'convnextv2_tiny' if options.get('use_grn') else 'convnext_tiny'
        self.features = _load(import_timm().create_model(name, features_only=True), options,
                              'timm-features')
        self.norms = nn.ModuleList(LayerNorm2d(channels, eps=1e-6)
                                   for channels in self.features.feature_info.channels())
        for stage, norm in enumerate(self.norms):
            norm.load_state_dict({name: state_of(options)[f'norm{stage}.{name}']
                                  for name in ('weight', 'bias')})

    def forward(self, x):
        return tuple(norm(x) for norm, x in zip(self.norms, self.features(x)))


def _load(model, options, fmt):
    from convnext_dense.checkpoints.formats import FORMATS, fit, from_official
    state = from_official(state_of(options), FORMATS[fmt])
    own = model.state_dict()
    model.load_state_dict({name: fit(name, state[name], tensor.shape)
                           for name, tensor in own.items()})
    return model


def inference_side(build, channels_last=False, compiled=False, prepare=False):
    """A side that computes the four maps of the images."""
    model = build()
    model.eval()
    if prepare:
        from convnext_dense.acceleration import prepare as prepare_model
        prepare_model(model, 'infer')
    x = _arrange(model, channels_last)
    forward = torch.compile(model) if compiled else model

    def step():
        with torch.inference_mode():
            return {f'map {stage}': output for stage, output in enumerate(forward(x))}
    return Side(step)


def training_side(build, channels_last=False, compiled=False, prepare=False):
    """A side that computes the maps and, from given gradients of theirs, all other gradients."""
    model = build()
    model.train()
    if prepare:
        from convnext_dense.acceleration import prepare as prepare_model
        prepare_model(model, 'train')
    x = _arrange(model, channels_last)
    forward = torch.compile(model) if compiled else model
    with torch.no_grad():
        maps = model(x)
    generator = torch.Generator().manual_seed(1)
    grads = [torch.empty_like(output).copy_(torch.randn(output.shape, generator=generator))
             for output in maps]

    def step():
        model.zero_grad()
        maps = forward(x)
        torch.autograd.backward(maps, grads)
        return maps

    def outputs():
        results = {f'map {stage}': output.detach() for stage, output in enumerate(step())}
        stem = next(parameter for parameter in model.parameters() if parameter.ndim == 4)
        return dict(results, stem=stem.grad.clone(),
                    norm=torch.stack([p.grad.norm() for p in model.parameters()]).norm())
    return Side(step, outputs)


def _arrange(model, channels_last):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    if not channels_last:
        return x
    model.to(memory_format=torch.channels_last)
    return x.to(memory_format=torch.channels_last)


def _sides(options, make, own):
    """Ours eager and compiled, and each peer as it comes, in its best layout and compiled."""
    own = partial(make, partial(ours, options), **own)
    sides = {'ours': own, 'ours, compiled': partial(own, compiled=True)}
    for name, peer in (('mmpretrain', mmpretrain), ('timm', TimmFeatures), ('official', official)):
        build = partial(peer, options)
        sides[name] = partial(make, build)
        sides[f'{name}, channels_last'] = partial(make, build, True)
        if name != 'official':
            sides[f'{name}, compiled'] = partial(make, build, True, True)
    return sides


@row('backbone-v1-inference', 'ConvNeXt-T alone, inference, 2 x 256x256', peer='mmpretrain',
     bar=1.15, fastest_bar=1.)
def v1_inference():
    return _sides(V1, inference_side, dict(prepare=True))


@row('backbone-v1-training', 'ConvNeXt-T alone, training step, 2 x 256x256', peer='mmpretrain',
     bar=1.2, fastest_bar=1.)
def v1_training():
    return _sides(V1, training_side, dict(channels_last=True, prepare=True))


@row('backbone-v2-inference', 'ConvNeXt V2-T alone, inference, 2 x 256x256', peer='mmpretrain',
     bar=1.25)
def v2_inference():
    return _sides(V2, inference_side, dict(prepare=True))


@row('backbone-v2-training', 'ConvNeXt V2-T alone, training step, 2 x 256x256', peer='mmpretrain',
     bar=1.25)
def v2_training():
    return _sides(V2, training_side, dict(channels_last=True, prepare=True))
