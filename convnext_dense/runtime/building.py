"""The parts of a run built from a config: mmengine's ways, and the errors in one line."""
import copy
import logging
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import convert_sync_batchnorm, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Priority
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from convnext_dense.classes import LOADERS
from convnext_dense.config_nodes import type_name
from convnext_dense.errors import InputError, convert_errors, in_one_line, is_out_of_memory
from convnext_dense.model_wrappers import unwrap
from convnext_dense.parallel import DdpSettings, FsdpSettings
from convnext_dense.runtime.averaged_gradients import wrap_for_processes
from convnext_dense.runtime.bad_image_list import BadImageLists
from convnext_dense.runtime.files import escape_control_characters, raise_write_errors
from convnext_dense.runtime.loading import build_loader
from convnext_dense.runtime.local_images import with_own_backend
from convnext_dense.runtime.loops import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    TestLoop,
    ValLoop,
)
from convnext_dense.runtime.prepare_hook import PrepareHook
from convnext_dense.runtime.processes import (
    check_launcher,
    check_same_config,
    check_shares,
    meet_on_cpus,
    wait_for_first,
    waiting_time,
)
from convnext_dense.runtime.progress import (
    SHOWN,
    ProgressHook,
    quiet_terminal,
    shows_progress,
)
from convnext_dense.runtime.scaled_lr import scale_rates
from convnext_dense.runtime.sharding import is_sharded, shard
from convnext_dense.runtime.trainable_hook import TrainableHook

ADVICE = 'look at its settings in the config'


class NamedEvaluator(Evaluator):
    """mmengine's evaluator; a metric that fails where figures are computed is one line."""

    def evaluate(self, size: int) -> dict:
        """The figures of all metrics.

        Args:
            size: images of the data set.

        Raises:
            InputError: a metric fails.
        """
        try:
            return super().evaluate(size)
        except (InputError, OSError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            names = ', '.join(type(metric).__name__ for metric in self.metrics)
            raise InputError(f'the figures of {names}: {in_one_line(error)}; look at the settings '
                             'of the evaluator, and at the annotations') from error


class BuildingRunner(MMEngineRunner):
    """mmengine's Runner as far as it builds what a config describes."""

    trainable: TrainableHook
    progress_hook: ProgressHook | None = None
    bad_image_lists: BadImageLists
    run_id: str
    trains: bool
    parallel: DdpSettings | FsdpSettings
    prepare_hook: PrepareHook
    model: nn.Module
    unsharded_copy: nn.Module | None = None  # until the first weights are drawn

    def setup_env(self, env_cfg: dict) -> None:
        """mmengine's set-up, which on its own knows no processes without GPUs.

        Raises:
            InputError: the processes do not meet, or have different configs.
        """
        check_launcher(self._launcher, torch.cuda.is_available())
        if self._launcher == 'pytorch' and not torch.distributed.is_initialized():
            wait_for_first()
        with convert_errors('the processes do not come together', 'look at what started them: '
                            'MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE'):
            if self._launcher == 'pytorch' and not torch.cuda.is_available() \
                    and not torch.distributed.is_initialized():
                meet_on_cpus(waiting_time(env_cfg))
            super().setup_env(env_cfg)
        if self.distributed and self.world_size > 1:
            check_same_config(self.cfg)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """mmengine's building; parts are frozen and adapted before anything looks at parameters."""
        built: nn.Module = super().build_model(model)
        self.trainable.apply(unwrap(built))
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """mmengine's wrapping, with the settings of ``parallel``.

        On a CPU the processes have no device to name. A model that is to be shared out stays as it
        is until it trains: for an evaluation alone each process keeps the whole.
        """
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        if isinstance(self.parallel, FsdpSettings):
            if self.cfg.get('sync_bn') is not None:
                model = convert_sync_batchnorm(model, self.cfg.sync_bn)
            return model.to(get_device())
        # DDP's buffers have the layout that the weights have now; weights that change theirs
        # later get the gradients of other places
        self.prepare_hook.set_memory_format(model)
        return wrap_for_processes(model, self.parallel, model_wrapper_cfg,
                                  self.cfg.get('find_unused_parameters', False),
                                  super().wrap_model)

    def share_out_model(self) -> None:
        """Share the model out, where ``parallel`` says so, before an optimizer looks at it."""
        if not isinstance(self.parallel, FsdpSettings) or not self.distributed or is_sharded(
                self.model):
            return
        self.unsharded_copy = copy.deepcopy(self.model)
        self.prepare_hook.prepare_before_sharding(self)
        with convert_errors("parallel.type='fsdp'", "use type='ddp' for this model"):
            sizes = shard(self.model, self.parallel)
        self.logger.info(f'parameters shared out between {self.world_size} processes in '
                         f'{len(sizes)} groups of {min(sizes) / 1e6:.2f} to '
                         f'{max(sizes) / 1e6:.2f} million; {sizes[-1] / 1e6:.2f} million are not '
                         "of the backbone's blocks")

    def _init_model_weights(self):
        """mmengine's first weights, the same whatever the strategy and layout of the weights."""
        if self.unsharded_copy is None:
            model = unwrap(self.model)
            # a draw fills memory in its order
            self.prepare_hook.set_memory_format(model, 'contiguous')
            super()._init_model_weights()
            self.prepare_hook.set_memory_format(model)
            return
        sharded: nn.Module = self.model
        self.model = self.unsharded_copy
        super()._init_model_weights()
        sharded.load_state_dict(self.model.state_dict())
        self.model = sharded
        self.unsharded_copy = None

    def register_hook(self, hook: Hook | dict,
                      priority: str | int | Priority | None = None) -> None:
        """mmengine's registering; a sharded model has the toolkit's EMAHook."""
        if isinstance(hook, dict) and isinstance(self.parallel, FsdpSettings) and \
                type_name(hook) == 'EMAHook' and _is_of_mmengine(hook['type']):
            hook = dict(hook, type='convnext_dense.EMAHook')
        super().register_hook(hook, priority)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """mmengine's logger, which leaves a terminal to the line of progress.

        A line that cannot be written to the log file ends the run.
        """
        logger = super().build_logger(*args, **kwargs)
        raise_write_errors(logger)
        logger.addFilter(escape_control_characters)
        if shows_progress(self.cfg):
            self.progress_hook = ProgressHook(quiet_terminal(logger))
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """mmengine's visualizer; an image that cannot be written ends the run."""
        if visualizer is None:
            visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        if isinstance(visualizer, dict):
            visualizer = with_own_backend(visualizer)
        return super().build_visualizer(visualizer)

    def build_dataloader(self, dataloader: DataLoader | dict, seed: int | None = None,
                         diff_rank_seed: bool = False) -> DataLoader:
        """mmengine's data loader, its samples seeded and guarded."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        name = next((name for name in LOADERS if getattr(self, f'_{name}', None) is dataloader),
                    'a data loader')
        with convert_errors(name, ADVICE):
            bad_images = self.bad_image_lists.of(name, self.trains, self.run_id)
            loader = build_loader(dict(dataloader), name, bad_images,
                                  self.seed if seed is None else seed, seed, diff_rank_seed)
        if self.world_size > 1:
            sized = not isinstance(loader.dataset, IterableDataset)
            # what is shared out must be brought together for each image of a validation, too
            check_shares(name, len(loader) if sized else None, name == 'train_dataloader' or (
                self.trains and isinstance(self.parallel, FsdpSettings)))
        return loader

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """mmengine's optimizer wrapper; what its settings break is one line."""
        with convert_errors('optim_wrapper', ADVICE):
            return super().build_optim_wrapper(optim_wrapper)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Multiply the learning rates by what the batch of all processes asks for.

        With ``auto_scale_lr = dict(base_batch_size=..., enable=False)`` nothing is changed, and a
        batch that is not the recipe's is said in one line.

        Args:
            optim_wrapper: built.
            auto_scale_lr: the config's; ``rule`` is ``linear`` or ``sqrt``, by default the
                optimizer's own.
        """
        with convert_errors('auto_scale_lr', 'give dict(base_batch_size=...)'):
            line = scale_rates(optim_wrapper, auto_scale_lr or {}, self._train_dataloader,
                               self.world_size, self.param_schedulers)
        if line:
            scaled = bool((auto_scale_lr or {}).get('enable'))
            self.logger.log(logging.INFO if scaled else logging.WARNING, line, extra=SHOWN)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """mmengine's schedules; what their settings break is one line."""
        with convert_errors('param_scheduler', ADVICE):
            return super().build_param_scheduler(scheduler)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """mmengine's evaluator; what its settings break is one line."""
        with convert_errors('an evaluator', 'look at val_evaluator and test_evaluator'):
            if isinstance(evaluator, list) or isinstance(evaluator, dict) and \
                    'metrics' not in evaluator:
                return NamedEvaluator(evaluator)
            return super().build_evaluator(evaluator)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The loop of training, the toolkit's in the place of mmengine's."""
        by_epoch = isinstance(loop, dict) and loop.get('by_epoch', True)
        with convert_errors('train_cfg', ADVICE):
            return super().build_train_loop(
                own_loop(loop, EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop))

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The loop of validation, the toolkit's in the place of mmengine's."""
        with convert_errors('val_cfg', ADVICE):
            return super().build_val_loop(own_loop(loop, ValLoop))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The loop of testing, the toolkit's in the place of mmengine's."""
        with convert_errors('test_cfg', ADVICE):
            return super().build_test_loop(own_loop(loop, TestLoop))

    def _maybe_compile(self, target):
        """Nothing: mmengine would compile ``train_step``; the parts of the model are compiled."""


def own_loop(loop: Any, default: type) -> Any:
    """A config's loop with the toolkit's class in the place of mmengine's of the same name.

    Args:
        loop: a config, or a loop that was built already.
        default: the class where the config names none.
    """
    if not isinstance(loop, dict):
        return loop
    loop = dict(loop)
    if 'type' not in loop:
        loop.pop('by_epoch', None)
        return dict(loop, type=default)
    kind = loop['type']
    own = {one.__name__: one for one in (
        EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop, TestLoop)}
    return dict(loop, type=own.get(type_name(loop) or '', kind) if _is_of_mmengine(
        kind) else kind)


def _is_of_mmengine(kind):
    """Whether a config's type is mmengine's, by its name or as a class."""
    return kind.__module__.startswith('mmengine.') if isinstance(kind, type) else \
        isinstance(kind, str) and '.' not in kind.removeprefix('mmengine.')
