"""Losses of two images together, of each alone, and of two processes with one each, as a program.

``cut_losses.py FOLDER`` prints JSON by kind of model: ``whole`` and ``alone``, which are losses by
name (of each image), ``processes`` (of each process), ``objects`` (classes of a label map) of each
image and ``sampled``, how many RoIs and positives each sampler took of each image alone. Samplers
and points of masks draw the same for every image, so that what is left is how losses are divided.
"""
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from mmengine.registry import MODELS, init_default_scope
from tiny import tiny_backbone

from convnext_dense.analysis.random_batch import random_batch
from convnext_dense.config import load_config, set_device

CONFIGS = dict(
    cascade='cascade-mask-rcnn_convnext_shapes', dino='dino_convnext_shapes',
    rtmdet='rtmdet_convnextv2-atto_pennfudan', mask2former='mask2former_convnext_shapes',
    upernet='upernet_convnext_shapes', upernet_non_ignore='upernet_convnext_shapes')
SIZE, OBJECTS = (128, 128), 2
CHANNELS = [8, 16, 24, 32]
RAND = torch.rand


def model_and_batch(kind):
    """In training mode, but for batch norm, which would see the images of a process alone."""
    cfg = load_config(CONFIGS[kind])
    set_device(cfg, 'cpu')
    model = cfg.model
    model.backbone = dict(tiny_backbone(), drop_path_rate=0.,
                          out_indices=model.backbone.get('out_indices', [0, 1, 2, 3]))
    for name in ('neck', 'decode_head'):
        if name in model:
            model[name].in_channels = [CHANNELS[index] for index in model.backbone.out_indices]
    for name in ('decode_head', 'auxiliary_head'):
        if 'dropout_ratio' in model.get(name, {}):
            model[name].dropout_ratio = 0.
    if 'auxiliary_head' in model:
        model.auxiliary_head.in_channels = CHANNELS[2]
    if kind == 'upernet_non_ignore':
        model.decode_head.loss_decode.avg_non_ignore = True
    if 'size' in model.data_preprocessor:
        model.data_preprocessor.size = SIZE
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    for module in built.train().modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    batch = random_batch(cfg, SIZE, 2)
    if kind == 'rtmdet':  # boxes of four strides: of those without a size none is a positive
        for layer in built.bbox_head.rtm_reg:
            torch.nn.init.constant_(layer.bias, 2.)
    if kind == 'rtmdet':  # its assigner would take masks for the objects' centres
        for sample in batch['data_samples']:
            del sample.gt_instances.masks
    first = batch['data_samples'][0]
    if 'gt_instances' in first:
        first.gt_instances = first.gt_instances[:OBJECTS]
    else:
        labels = first.gt_sem_seg.data
        labels[:] = torch.arange(labels.shape[-1]) // (labels.shape[-1] // OBJECTS)
        labels[..., 8:-8] = 255  # not labelled
    return built, batch


def objects(sample):
    if 'gt_instances' in sample:
        return len(sample.gt_instances)
    return len(set(sample.gt_sem_seg.data.unique().tolist()) - {255})


def losses(model, batch, images):
    """Sums by name, of some images of a batch."""
    torch.manual_seed(1)
    data = model.data_preprocessor(
        {key: [values[index] for index in images] for key, values in batch.items()}, True)
    found = model(**data, mode='loss')
    return {name: sum(value).item() if isinstance(value, list) else value.item()
            for name, value in found.items() if 'loss' in name}


def same_rand(*size, device=None):
    size = size[0] if isinstance(size[0], (tuple, list, torch.Size)) else size
    drawn = RAND(size[1:], generator=torch.Generator().manual_seed(0))
    return drawn.expand(size).clone()


@contextmanager
def same_draws() -> Iterator[list]:
    """Draws that depend on no image before; a list of what samplers took meanwhile."""
    from mmdet.models.task_modules.samplers import BaseSampler
    sample, sampled = BaseSampler.sample, []

    def recorded(*args, **kwargs):
        result = sample(*args, **kwargs)
        sampled.append([len(result.pos_inds) + len(result.neg_inds), len(result.pos_inds)])
        return result

    with mock.patch('torch.randperm', lambda number, **_: torch.arange(number)), \
            mock.patch('torch.rand', same_rand), mock.patch.object(BaseSampler, 'sample', recorded):
        yield sampled


def in_two_processes(models, folder):
    """Losses by kind, of each process."""
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            status = 1
            try:
                torch.distributed.init_process_group(
                    'gloo', f'file://{folder}/rendezvous', rank=rank, world_size=2)
                with same_draws():
                    found = {kind: losses(*pair, [rank]) for kind, pair in models.items()}
                (folder / f'{rank}.json').write_text(json.dumps(found))
                torch.distributed.barrier()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    both = [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]
    return {kind: [one[kind] for one in both] for kind in models}


def main(folder):
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
    torch.set_num_threads(1)
    models = {kind: model_and_batch(kind) for kind in CONFIGS}
    found = {}
    for kind, pair in models.items():
        found[kind] = dict(alone=[], sampled=[],
                           objects=[objects(sample) for sample in pair[1]['data_samples']])
        with same_draws():
            found[kind]['whole'] = losses(*pair, [0, 1])
        for image in range(2):
            with same_draws() as sampled:
                found[kind]['alone'].append(losses(*pair, [image]))
            found[kind]['sampled'].append(sampled)
    for kind, processes in in_two_processes(models, folder).items():
        found[kind]['processes'] = processes
    print(json.dumps(found))


if __name__ == '__main__':
    main(Path(sys.argv[1]).resolve())
