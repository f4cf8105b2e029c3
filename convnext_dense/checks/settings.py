"""Settings that cannot work together: a table of small rules, run before any work.

A rule is a pure function of the config and its data sets. It yields a message for each thing that
is wrong, naming the keys. Where a rule asks what a part does, it asks the part's class.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mmengine.logging import print_log

from convnext_dense.checks import (
    image_rules,
    label_rules,
    parallel_rules,
    run_rules,
    training_rules,
)
from convnext_dense.checks.arguments import check_arguments
from convnext_dense.checks.findings import Finding
from convnext_dense.checks.rule import Rule, Settings
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from mmengine.config import Config


def check_settings(cfg: Config, splits: Sequence[Split], training: bool) -> None:
    """Raise InputError for the first rule that is broken; print what is only doubtful.

    Args:
        cfg (mmengine.Config): the config.
        splits (Sequence[Split]): its data sets.
        training (bool): it will train, not only test.
    """
    for rule, text in broken_rules(cfg, splits, training):
        if rule.stops:
            raise InputError(text)
        print_log(text, 'current', 30)


def broken(cfg: Config, splits: Sequence[Split]) -> list[Finding]:
    """All that :func:`check_settings` would say, as findings."""
    return [Finding('config' if rule.stops else 'config-doubtful', text)
            for rule, text in broken_rules(cfg, splits, training=True)]


def broken_rules(cfg: Config, splits: Sequence[Split],
                 training: bool) -> Iterator[tuple[Rule, str]]:
    """Every rule that is broken, with its message."""
    model = cfg.get('model') or {}
    settings = Settings(cfg, model.get('module', model), list(splits), training)
    for rule in RULES:
        with convert_errors(f'the settings of {rule.looks_at}', 'look at them'):
            found = list(rule.check(settings))
        for text in found:
            yield rule, text


def a_model(settings: Settings) -> Iterator[str]:
    if settings.cfg.get('model') is None:
        yield 'model=None; expected a dict with the type of the model'


def arguments(settings: Settings) -> Iterable[str]:
    return check_arguments(settings.cfg, settings.training)


RULES = (
    Rule('a model', 'model', a_model),
    Rule('one class with softmax', 'the heads\' num_classes, loss_decode', label_rules.one_class),
    Rule('scores and loss', 'the heads\' out_channels, loss_decode', label_rules.out_channels),
    Rule('the ignored label', 'ignore_index of data sets, heads and metrics',
         label_rules.ignore_index),
    Rule('an ignored class', 'ignore_index and classes of the data sets',
         label_rules.ignored_class),
    Rule('weights of classes', 'class_weight and num_classes', label_rules.class_weight),
    Rule('batch norm of one pixel', 'train_dataloader.batch_size and norm_cfg',
         training_rules.batch_norm),
    Rule('a schedule that fails', 'param_scheduler and train_cfg', training_rules.schedules),
    Rule('a schedule that ends elsewhere', 'param_scheduler and train_cfg',
         training_rules.schedule_ends, False),
    Rule('loops without end or content', 'train_cfg and train_dataloader', training_rules.loops),
    Rule('masks', 'the mask head, LoadAnnotations and the metrics', image_rules.masks),
    Rule('channels', 'data_preprocessor and backbone.in_channels', image_rules.channels),
    Rule('pixels from 0 to 1', 'data_preprocessor.mean and std', image_rules.pixel_scale, False),
    Rule('images smaller than the stride', 'the validation images', image_rules.small_images),
    Rule('what evaluation needs of an image', 'the test pipeline', image_rules.meta_keys),
    Rule('images that are not evaluated', 'filter_cfg, test_mode and indices of the data sets',
         image_rules.left_out),
    Rule('detections of an image', 'num_queries and max_per_img', image_rules.queries),
    Rule('numbers of hooks', 'default_hooks and custom_hooks', training_rules.hook_numbers),
    Rule('figures that hooks wait for', 'save_best, monitor and val_evaluator',
         run_rules.figures),
    Rule('figures of one name', 'val_evaluator and test_evaluator', run_rules.repeated_figures),
    Rule('parts of a run', 'data loaders, loops, optim_wrapper and evaluators',
         run_rules.run_parts),
    Rule('weights to start from', 'load_from, init_from and init_cfg', run_rules.weights),
    Rule('a frozen backbone without weights', 'freeze, frozen_stages, lora and init_cfg',
         run_rules.frozen_noise, False),
    Rule('several processes', 'parallel, launcher and optim_wrapper', parallel_rules.strategies),
    Rule('packages of visualizers', 'visualizer.vis_backends', run_rules.packages),
    Rule('types and arguments', 'types and their arguments', arguments),
)
