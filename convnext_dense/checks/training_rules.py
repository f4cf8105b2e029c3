"""Rules on batches, schedules, loops and hooks; see :mod:`..settings`."""
from collections.abc import Iterator

from convnext_dense.checks.arguments import parts
from convnext_dense.checks.rule import Settings, as_list, training_images
from convnext_dense.config_nodes import SYNCHRONISED_NORMS, type_name

#: heads that normalise maps pooled to one pixel
POOLING_HEADS = ('UPerHead', 'PSPHead', 'ASPPHead', 'DepthwiseSeparableASPPHead')
BATCH_NORMS = ('BN', 'BN2d', 'BatchNorm2d', *SYNCHRONISED_NORMS)
#: samplers without end
INFINITE = ('InfiniteSampler', 'WeightedInfiniteSampler')
#: whole numbers of hooks
HOOK_NUMBERS = ('interval', 'max_keep_ckpts', 'save_begin', 'interval_exp_name', 'begin_iter',
                'begin_epoch', 'update_buffers_interval')


def batch_norm(settings: Settings) -> Iterator[str]:
    loader = settings.cfg.get('train_dataloader') or {}
    if settings.cfg.get('launcher', 'none') != 'none' or not settings.training:
        return
    size, images = loader.get('batch_size', 1), training_images(settings)
    alone = size == 1
    if not alone and images and size and images % size == 1 and not loader.get('drop_last') and \
            type_name(loader.get('sampler') or {}) == 'DefaultSampler':
        alone = True
    for key, head in settings.heads():
        norm = type_name(head.get('norm_cfg') or {}) or ''
        scales = head.get('pool_scales', (1, 2, 3, 6))
        if alone and norm in BATCH_NORMS and type_name(head) in POOLING_HEADS and \
                (1 in scales or 'ASPP' in (type_name(head) or '')):
            what = 'train_dataloader.batch_size=1' if size == 1 else \
                f'the last batch has 1 of {images} images with train_dataloader.batch_size={size}'
            yield (f'{what}, but {key} ({type_name(head)}) normalises one pixel an image by batch '
                   'norm, which needs two; set batch_size=2 or more'
                   + ('' if size == 1 else ' or drop_last=True')
                   + ", or norm_cfg=dict(type='GN', num_groups=...)")


def schedules(settings: Settings) -> Iterator[str]:
    """A schedule that ends before the loop with an error."""
    for key, part, end, steps, unit in _schedules(settings):
        if type_name(part) == 'OneCycleLR' and end < steps:
            yield (f'{key}.total_steps={end} is less than the {steps} {unit} of train_cfg: '
                   f'OneCycleLR fails at its end; set total_steps={steps}')


def schedule_ends(settings: Settings) -> Iterator[str]:
    """A schedule that ends early or late."""
    ends = [(key, part, end, steps, unit) for key, part, end, steps, unit in _schedules(settings)
            if type_name(part) in ('PolyLR', 'CosineAnnealingLR', 'OneCycleLR')]
    for key, part, end, steps, unit in ends[-1:]:
        if end != steps and not (type_name(part) == 'OneCycleLR' and end < steps):
            yield (f'{key} ({type_name(part)}) ends after {end} {unit}, training after {steps}: '
                   + ('the rest is trained with the last learning rate' if end < steps else
                      'the learning rate has not come down then'))
    cfg = settings.cfg
    if 'max_iters' in (cfg.get('train_cfg') or {}):
        for number, part in enumerate(as_list(cfg.get('param_scheduler'))):
            if isinstance(part, dict) and part.get('by_epoch', True) and \
                    not part.get('convert_to_iter_based') and type_name(part):
                yield (f'param_scheduler.{number} ({type_name(part)}) has by_epoch=True, but '
                       'train_cfg counts iterations: it changes nothing before the end; set '
                       'by_epoch=False')


def _schedules(settings):
    """(key, scheduler, end, steps of the loop, unit) where both count the same unit."""
    loop = settings.cfg.get('train_cfg') or {}
    if not settings.training:
        return
    for number, part in enumerate(as_list(settings.cfg.get('param_scheduler'))):
        if not isinstance(part, dict):
            continue
        by_epoch = part.get('by_epoch', True)
        steps = loop.get('max_epochs' if by_epoch else 'max_iters')
        images = training_images(settings)
        if steps is None and not by_epoch and loop.get('max_epochs') and images:
            loader = settings.cfg.get('train_dataloader') or {}
            size = loader.get('batch_size', 1)
            steps = loop['max_epochs'] * (images // size if loader.get('drop_last')
                                          else -(-images // size))
        end = part.get('total_steps', part.get('end'))
        if isinstance(end, int) and isinstance(steps, int):
            yield (f'param_scheduler.{number}', part, end, steps,
                   'epochs' if by_epoch else 'iterations')


def loops(settings: Settings) -> Iterator[str]:
    loader = settings.cfg.get('train_dataloader') or {}
    loop = settings.cfg.get('train_cfg') or {}
    if not settings.training or not loader:
        return
    epochs = type_name(loop) == 'EpochBasedTrainLoop' or \
        'type' not in loop and loop.get('by_epoch', True)
    sampler = type_name(loader.get('sampler') or {})
    if epochs and sampler in INFINITE:
        yield (f'train_dataloader.sampler is of type {sampler}, but train_cfg counts epochs, which '
               "would never end; use type='DefaultSampler', or max_iters")
    for key in ('max_epochs', 'max_iters', 'val_interval', 'val_begin'):
        if key in loop and not (_is_whole(loop[key]) and loop[key] >= 1):
            yield f'train_cfg.{key}={loop[key]!r}; give a whole number of at least 1'
    for pair in as_list(loop.get('dynamic_intervals')):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(_is_whole, pair)):
            yield (f'train_cfg.dynamic_intervals has {pair!r}; give pairs (step, interval) of '
                   'whole numbers')
    size, images = loader.get('batch_size', 1), training_images(settings)
    if loader.get('drop_last') and images and isinstance(size, int) and images < size and \
            sampler not in INFINITE:
        yield (f'train_dataloader has {images} images, no whole batch of batch_size={size}, and '
               'drop_last=True: nothing would be trained; lower batch_size')


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def hook_numbers(settings: Settings) -> Iterator[str]:
    """Numbers of hooks, which mmengine compares only in the middle of a run."""
    for kind, key, node in parts(settings.cfg, settings.training):
        for name in HOOK_NUMBERS if kind == 'hook' else ():
            value = node.get(name, 1)
            if not _is_whole(value):
                yield f'{key}.{name}={value!r}; give a whole number'
    log = settings.cfg.get('log_processor') or {}
    for name, least in (('window_size', 1), ('num_digits', 0)):
        value = log.get(name, least)
        if not _is_whole(value) or value < least:
            yield f'log_processor.{name}={value!r}; give a whole number from {least} on'
