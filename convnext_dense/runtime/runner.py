"""mmengine's Runner for runs that may be killed at any instant."""
import os
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.checkpoints.fetching import locate
from convnext_dense.checkpoints.loading import load_weights
from convnext_dense.checkpoints.reading import read_checkpoint
from convnext_dense.classes import LOADERS
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.evaluation.collect import on_main_process
from convnext_dense.model_wrappers import device_of, unwrap
from convnext_dense.parallel import parallel_settings
from convnext_dense.registry import RUNNERS
from convnext_dense.runtime import files, resuming
from convnext_dense.runtime.bad_image_list import BadImageLists
from convnext_dense.runtime.building import BuildingRunner
from convnext_dense.runtime.checkpoint_content import checkpoint_content, random_states
from convnext_dense.runtime.checkpoint_folder import checkpoint_folder
from convnext_dense.runtime.end_lines import end_lines
from convnext_dense.runtime.fingerprint import fingerprint
from convnext_dense.runtime.graceful_stop import stop_evaluation_if_asked, stop_if_asked
from convnext_dense.runtime.hook_errors import call_named
from convnext_dense.runtime.init_from_hook import init_from_hooks
from convnext_dense.runtime.lock import WorkDirLock
from convnext_dense.runtime.newest_checkpoint import written_at
from convnext_dense.runtime.non_finite import NonFiniteGuard
from convnext_dense.runtime.prepare_hook import PrepareHook
from convnext_dense.runtime.progress import SHOWN
from convnext_dense.runtime.random_state import set_random_state
from convnext_dense.runtime.run_errors import explained_errors
from convnext_dense.runtime.sharding import is_sharded
from convnext_dense.runtime.start_line import start_line
from convnext_dense.runtime.state_loading import load_states
from convnext_dense.runtime.stop_signals import StopSignals
from convnext_dense.runtime.trainable_hook import TrainableHook
from convnext_dense.runtime.weights_classes import check_weights_classes, classes_of_run
from convnext_dense.runtime.workers import ended_workers


@RUNNERS.register_module()
class Runner(BuildingRunner):
    """mmengine's Runner: safe reading, whole checkpoints, exact resume, guards.

    The arguments are mmengine's. Where a config names one of mmengine's four loops, the loop of
    the same name of :mod:`convnext_dense.runtime.loops` is built. The config may also have::

        bad_images = dict(strict=False, limit=.1)   # see BadImageList
        not_finite = dict(skip=10)                    # see NonFiniteGuard
        acceleration = dict(winograd=True)            # see Acceleration; False: nothing
        freeze = ['backbone', 'neck']                 # see TrainableHook
        lora = dict(rank=8)
        progress = True                               # one line on a terminal; False: the log
        parallel = dict(type='fsdp')                  # see convnext_dense.parallel
    """

    def __init__(self, model: nn.Module | dict, work_dir: str, *, load_from: str | None = None,
                 resume: bool = False, cfg: Config | dict | None = None, **kwargs: Any) -> None:
        for name in LOADERS:
            if not isinstance(kwargs.get(name), (dict, DataLoader, type(None))):
                raise InputError(f'{name} is {kwargs[name]!r}; expected a dict with batch_size, '
                                 'num_workers, sampler and dataset')
        settings = cfg if cfg is not None else {}
        self._work_dir = os.path.abspath(work_dir)
        self._resumes, self._resume_request = resume, load_from if resume else None
        self._resume_lines: list[str] = []
        self.run_id = ''
        self.resumed_from: str | None = None
        self._pending_state: dict | None = None  # of the random generators
        self._written = 0.  # when the last checkpoint was written, as it says
        self.trains = False
        self.parallel = parallel_settings(settings.get('parallel'))
        self._lock = WorkDirLock(work_dir)
        self.non_finite_guard = NonFiniteGuard(**(settings.get('not_finite') or {}))
        self.stop_signals = StopSignals()
        self.bad_image_lists = BadImageLists(self._work_dir, settings.get('bad_images'))
        self.trainable = TrainableHook(settings.get('freeze'), settings.get('lora'))
        self.prepare_hook = PrepareHook(settings.get('acceleration'), settings.get('compile'))
        hooks = [self.prepare_hook, self.trainable]
        if kwargs.get('train_cfg'):
            hooks += init_from_hooks(settings.get('init_from'))
        try:
            super().__init__(model, work_dir, load_from=load_from, resume=resume, cfg=cfg,
                             **kwargs)
            for line in self._resume_lines:
                self.logger.warning(line)
        except OSError as error:
            if not files.concerns_writing(error, self._work_dir):
                raise
            raise files.explain(error.filename or self._work_dir, error) from error
        if self.progress_hook is not None:
            hooks.append(self.progress_hook)
        for hook in hooks:
            self.register_hook(hook)

    # -- what is read ----------------------------------------------------------------------------

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False,
                       deterministic: bool = False) -> None:
        """Set the seeds; a resumed run gets its seed from the checkpoint, before any data."""
        if not self.run_id:
            start = on_main_process(lambda: resuming.choose(
                self._work_dir, self._resume_request, checkpoint_folder(self.cfg, self._work_dir))
                if self._resumes else resuming.Start())
            self.run_id, self.resumed_from = start.run_id, start.path
            self._resume_lines = start.lines
            if start.seed is not None:
                if seed not in (None, start.seed):
                    self._resume_lines.append(
                        f'the seed {start.seed} of {start.path} is used, not {seed} of the config')
                seed = start.seed
                self._randomness_cfg: dict = dict(self._randomness_cfg, seed=seed)
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def load_or_resume(self) -> None:
        """Load or resume, once; ``resume=True`` alone takes the newest whole checkpoint."""
        if self._has_loaded:
            return
        if self.trains:
            self.trainable.restart(unwrap(self.model))
        if self._resumes and self.resumed_from:
            # a validation or test alone has no state to go on from
            (self.resume if self.trains else self.load_checkpoint)(self.resumed_from)
        elif self._resumes:
            self.logger.info(f'no checkpoint to resume in {self.work_dir}: the run starts from '
                             'the beginning')
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(self, filename: str, map_location: str = 'cpu', strict: bool = False,
                        revise_keys: Sequence = ((r'^module.', ''),)) -> dict[str, Any]:
        """Load weights of any published format into the model.

        Args:
            filename (str): path, URL or zoo name.

        Returns:
            dict: what the file holds.

        Raises:
            InputError: unreadable, weights of another model, or of the classes in another order.
        """
        checkpoint = read_checkpoint(locate(filename), map_location)
        model = unwrap(self.model)
        check_weights_classes(filename, checkpoint, classes_of_run(
            (self._train_loop, self._val_loop, self._test_loop)))
        load_weights(model, checkpoint, name=filename)
        self.call_hook('after_load_checkpoint', checkpoint=dict(
            {key: value for key, value in checkpoint.items() if key != 'ema_state_dict'},
            state_dict=model.state_dict()))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True,
               resume_param_scheduler: bool = True, map_location: str = 'cpu') -> None:
        """Go on where a checkpoint was written; see :mod:`convnext_dense.runtime.resuming`."""
        checkpoint = read_checkpoint(filename, map_location='cpu', mmap=False)
        self._resume = True  # hooks look at it
        with convert_errors(f'{filename}: its state cannot be gone on from',
                            'resume with the config that wrote it, or start from its weights '
                            'with load_from'):
            # a hook may swap tensors (EMA); the flag tells it that this is no start
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
            load_states(self, checkpoint, filename, resume_optimizer, resume_param_scheduler)
            self._pending_state = resuming.restore_progress(self, checkpoint, filename)
            self._written = written_at(checkpoint)[0]
        self._has_loaded = True
        self.logger.info(f'resumed {filename}: epoch {self.epoch}, iteration {self.iter}',
                         extra=SHOWN)

    def fingerprint(self) -> dict[str, str]:
        """What decides the numbers of this run, see :mod:`convnext_dense.runtime.fingerprint`."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self):
        return fingerprint(self.cfg, device_of(self.model), self.deterministic)

    @cached_property
    def config_text(self) -> str:
        """The config as Python code; formatting it takes long."""
        return self.cfg.pretty_text

    # -- what is done ----------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Launch training.

        Raises:
            InputError: a data worker was killed, too many bad images or bad steps.
            SystemExit: a signal came; the state was saved.
        """
        self.trains = True
        on_main_process(self._lock.acquire)
        try:
            with self.stop_signals, ended_workers(self), explained_errors(self, 'train'):
                self.share_out_model()
                model = super().train()
        except BaseException as error:
            # a hook that has no such moment is passed over
            self.call_hook('after_stopped', error=error)
            raise
        finally:
            self._lock.release()
        self.bad_image_lists.log()
        if is_main_process():
            for line in end_lines(self):
                self.logger.info(line, extra=SHOWN)
        return model

    def val(self) -> dict[str, float]:
        """Launch validation."""
        with ended_workers(self), explained_errors(self, 'val'):
            metrics = super().val()
        self.bad_image_lists.log()
        return metrics

    def test(self) -> dict[str, float]:
        """Launch testing."""
        with ended_workers(self), explained_errors(self, 'test'):
            metrics = super().test()
        self.bad_image_lists.log()
        return metrics

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; a resumed run's random state is set last before the first step."""
        for hook in self.hooks:
            if hasattr(hook, fn_name):
                call_named(hook, fn_name, self, **kwargs)
        if fn_name == 'before_run':
            start_line(self)
        if fn_name == 'before_train' and self._pending_state is not None:
            with convert_errors(f'{self.resumed_from}: its random state', 'the file is damaged: '
                                'resume with another checkpoint'):
                set_random_state(self._pending_state)
            self._pending_state = None

    def after_step(self) -> None:
        """Called by the loops after a training step and its hooks."""
        self._lock.touch()
        self.bad_image_lists.poll()
        stop_if_asked(self)

    def before_evaluation(self, steps: int) -> None:
        """Called by the loops before validation or testing; ``steps`` are this process's."""
        self._evaluation_steps = self.stop_signals.least(steps)  # that all processes have

    def after_evaluation_step(self, idx: int) -> None:
        """Called by the loops after a step of validation or testing."""
        self._lock.touch()
        self.bad_image_lists.poll()
        if self.stop_signals.active and idx < self._evaluation_steps:
            stop_evaluation_if_asked(self)

    # -- what is written -------------------------------------------------------------------------

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True,
                        meta: dict | None = None, by_epoch: bool = True,
                        backend_args: dict | None = None) -> None:
        """Write a checkpoint, whole or not at all; the arguments are mmengine's."""
        checkpoint = self.collect_checkpoint(save_optimizer, save_param_scheduler, meta, by_epoch)
        if checkpoint is not None:
            files.write_checkpoint(checkpoint, os.path.join(out_dir, filename))

    def collect_checkpoint(self, save_optimizer: bool = True, save_param_scheduler: bool = True,
                           meta: dict | None = None, by_epoch: bool = True,
                           validated: bool = False) -> dict[str, Any] | None:
        """What a checkpoint holds; all processes must call it.

        Args:
            validated (bool): the validation after the last step is done.

        Returns:
            dict | None: None but in the main process. Its tensors are those of the run: write
            them before the next step, or copy them.
        """
        randoms = random_states(unwrap(self.model))
        # the parts of a sharded model are brought together by all processes
        if not (is_main_process() or is_sharded(self.model)):
            return None
        # at least a millisecond after the one before, even where the clock was set back
        self._written = max(time.time(), self._written + 1e-3)
        checkpoint = checkpoint_content(self, randoms, self._written, save_optimizer,
                                        save_param_scheduler, meta, by_epoch, validated)
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        return checkpoint if is_main_process() else None
