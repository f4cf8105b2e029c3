"""Backbones, detectors and segmenters on a GPU, against timm's, official and stock ones."""
import copy
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from benchmarks.gpu_measuring import line, ratios
from benchmarks.packages import MissingPackage, import_mmpretrain, import_timm

ROOT = 'configs'
VERSIONS = dict(V1=dict(layer_scale_init_value=1.),
                V2=dict(use_grn=True, layer_scale_init_value=0.))
ARCHS = dict(T='tiny', B='base')
#: version, size, images and their batch, the ones of the bar
BACKBONES = [(version, arch, size, batch) for size, batch in (((800, 1216), 2), ((224, 224), 64))
             for arch in ('T', 'B') for version in ('V1', 'V2')]
#: config, height and width, batch in training
MODELS = {
    'Cascade Mask R-CNN ConvNeXt-T': (
        'cascade_mask_rcnn/cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py',
        (800, 1216), 2),
    'UperNet ConvNeXt-T 512': (
        'upernet/upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py', (512, 512), 2)}


# -- backbones -----------------------------------------------------------------------------------


class TimmFeatures(nn.Module):
    """timm's ``features_only`` model and the norms of its outputs, which the recipes add to it."""

    def __init__(self, version, arch):
        from convnext_dense.models.layers import LayerNorm2d
        super().__init__()
        family = 'convnextv2' if version == 'V2' else 'convnext'
        sizes = {}
        if isinstance(arch, dict):
            arch, sizes = 'tiny', dict(depths=arch['depths'], dims=arch['channels'])
        self.features = import_timm().create_model(f'{family}_{arch}', features_only=True, **sizes)
        self.norms = nn.ModuleList(LayerNorm2d(channels, eps=1e-6)
                                   for channels in self.features.feature_info.channels())

    def forward(self, x):
        return tuple(norm(x) for norm, x in zip(self.norms, self.features(x)))


def backbone_sides(version, arch, compile_options):
    """{name: builder} of the backbones; a builder returns the module and its memory format."""
    from benchmarks.official_form import OfficialForm
    from convnext_dense.models import ConvNeXt
    options = dict(VERSIONS[version], arch=arch)

    def timm_compiled():
        module = TimmFeatures(version, arch)
        return torch.compile(module, **compile_options), torch.channels_last

    layouts = dict(channels_last=torch.channels_last, contiguous=torch.contiguous_format)
    return dict(
        ours=lambda: (ConvNeXt(**options), torch.channels_last),
        timm_compiled=timm_compiled,
        **{f'official_{name}': lambda layout=layout: (OfficialForm(**options), layout)
           for name, layout in layouts.items()},
        **{f'timm_{name}': lambda layout=layout: (TimmFeatures(version, arch), layout)
           for name, layout in layouts.items()})


class BackboneSide:
    """A backbone with inputs, in bfloat16 by autocast.

    Args:
        build (Callable): gives the module and its memory format.
        size (tuple[int, int]): of the images.
        batch (int): of images.
        device (str): ``cuda`` or ``cpu``.
    """

    def __init__(self, build, size, batch, device):
        from convnext_dense.acceleration import Acceleration, prepare
        self.module, memory_format = build()
        self.module.to(device, memory_format=memory_format)
        prepare(self.module, 'train', settings=Acceleration(
            'channels_last' if memory_format is torch.channels_last else 'contiguous',
            forms=False, ops='auto'))
        self.x = torch.randn(batch, 3, *size, device=device).contiguous(
            memory_format=memory_format)
        self.autocast = torch.autocast(device, torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), fused=True)

    def infer(self):
        self.module.eval()
        with torch.inference_mode(), self.autocast:
            return self.module(self.x)

    def train(self):
        """Forward, a loss of all maps, backward and the optimizer's step."""
        self.module.train()
        with self.autocast:
            loss = sum(x.float().square().mean() for x in self.module(self.x))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure_backbones(clock, cases, budget, report, compile_options, archs=ARCHS):
    """Time inference and a training step of backbones.

    Yields:
        dict: version, arch, size, batch, mode, times, ratios and peak memory of each side.
    """
    for version, arch, size, batch in cases:
        name = f'backbone {version}-{arch} {batch}x{size[0]}x{size[1]}'
        if not budget.allows(name):
            continue
        builders = {
            side: partial(BackboneSide, build, size, batch, clock.device)
            for side, build in backbone_sides(version, archs[arch], compile_options).items()}
        yield from _compare(clock, name, builders, ('infer', 'train'), budget, report, dict(
            version=version, arch=arch, size=size, batch=batch))


def _compare(clock, name, builders, modes, budget, report, result):
    """Build all sides, then time them in turns in each mode."""
    sides, memory = {}, {}
    for side, build in builders.items():
        try:
            sides[side], memory[side] = clock.build(build, modes)
        except MissingPackage as missing:
            report(f'{name}: without {side}: {missing}')
    for mode in modes:
        if not budget.allows(f'{name} {mode}'):
            continue
        times = clock.in_turns({side: getattr(value, mode) for side, value in sides.items()})
        peaks = {side: peak[mode] for side, peak in memory.items()}
        text = '' if peaks['ours'] is None else 'peak memory ' + ', '.join(
            f'{side} {value / 2**30:.2f} GiB' for side, value in peaks.items())
        report(line(f'{name} {mode}', times, text))
        yield dict(result, mode=mode, times=times, ratios=ratios(times), peak_memory=peaks)
    del sides
    if clock.device == 'cuda':
        torch.cuda.empty_cache()


# -- detectors and segmenters --------------------------------------------------------------------


def stock(cfg):
    """The config with the parts that OpenMMLab has in place of ours."""
    from convnext_dense.config_nodes import nested
    cfg = copy.deepcopy(cfg)
    for node in nested(cfg.model):
        kind = node.get('type')
        if kind == 'convnext_dense.ConvNeXt':
            node.update(type='mmpretrain.ConvNeXt', out_indices=[0, 1, 2, 3],
                        gap_before_final_norm=False, init_cfg=None)
        elif isinstance(kind, str) and kind.startswith('convnext_dense.'):
            node.type = kind.removeprefix('convnext_dense.')
    return cfg


class ModelSide:
    """A detector or segmenter with random weights and images.

    Args:
        path (str): config of the model and optimizer.
        size (tuple[int, int]): of the images.
        batch (int): of images.
        device (str): ``cuda`` or ``cpu``.
        precision (torch.dtype | None): of autocast.
        ours (bool): use what this project has for GPUs.
        training (bool): the side trains; else it predicts.
    """

    def __init__(self, path, size, batch, device, precision, ours, training):
        from mmengine.optim import OptimWrapper, build_optim_wrapper

        from convnext_dense.analysis.benchmark import _open_score_threshold, build_model
        from convnext_dense.analysis.random_batch import random_batch
        from convnext_dense.config import load_config, set_device
        cfg = load_config(path)
        if not ours:
            import_mmpretrain()
            cfg = stock(cfg)
            cfg.optim_wrapper.optimizer.setdefault('foreach', True)  # torch's default on a GPU
        set_device(cfg, device)
        cfg.model.backbone.pop('init_cfg', None)
        self.model = build_model(cfg, device=device, training=training)
        self.data, self.batch, self.step = random_batch(cfg, size, batch), batch, self.infer
        self.autocast = (lambda: torch.autocast(device, precision)) if precision else nullcontext
        if ours:
            self._use_our_means(training)
        if not training:
            _open_score_threshold(self)  # or random scores give NMS and mask heads nothing to do
        else:
            wrapper = build_optim_wrapper(self.model, dict(_plain(cfg.optim_wrapper)))
            scaled = precision == torch.float16 and device == 'cuda'
            if scaled:
                from mmengine.optim import AmpOptimWrapper
                wrapper = AmpOptimWrapper(optimizer=wrapper.optimizer, dtype='float16',
                                          clip_grad=cfg.optim_wrapper.get('clip_grad'))
            assert isinstance(wrapper, OptimWrapper)
            self.optimizer = wrapper

    def _use_our_means(self, training):
        from convnext_dense.acceleration import Acceleration, prepare
        prepare(self.model, 'train' if training else 'infer', settings=Acceleration(
            ops='auto', float32_predictions=True, cuda_graphs=0 if training else 4))

    def train(self):
        with self.autocast():
            self.model.train_step(self.data, self.optimizer)

    def infer(self):
        with torch.inference_mode(), self.autocast():
            return self.model.test_step(self.data)


def _plain(wrapper):
    return dict({key: value for key, value in wrapper.items()
                 if key not in ('loss_scale', 'dtype')}, type='OptimWrapper')


def measure_models(clock, models, budget, report):
    """Time whole models, inference of one image and a training step, against stock ones.

    Yields:
        dict: name, mode, batch, times, ratios and peak memory of each side.
    """
    for name, (path, size, batch) in models.items():
        for mode, images in (('train', batch), ('infer', 1)):
            label = f'{name} {images}x{size[0]}x{size[1]}'
            if not budget.allows(label):
                continue
            precisions = dict(ours=torch.bfloat16, stock_amp=torch.float16)
            if mode == 'infer':
                precisions['stock_fp32'] = None
            builders = {
                side: partial(ModelSide, f'{ROOT}/{path}', size, images, clock.device, precision,
                              side == 'ours', mode == 'train')
                for side, precision in precisions.items()}
            yield from _compare(clock, label, builders, (mode, ), budget, report, dict(
                model=name, batch=images, size=size))
