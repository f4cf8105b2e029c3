"""mmengine's Runner for runs that may be killed at any instant."""
import os
import time
import traceback
from pathlib import Path

import torch
from mmengine.dist import (
    all_gather_object,
    barrier,
    broadcast_object_list,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.checkpoint import weights_to_cpu
from mmengine.utils import apply_to, get_git_hash
from mmengine.version import __version__ as mmengine_version
from torch.utils.data import DataLoader

from convnext_dense.classes import LOADERS
from convnext_dense.command_names import typed_again
from convnext_dense.config import type_name
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.model_wrappers import unwrap
from convnext_dense.registry import RUNNERS
from convnext_dense.runtime import files, resuming
from convnext_dense.runtime.bad_image_list import BadImageList
from convnext_dense.runtime.checkpoint_folder import checkpoint_folder
from convnext_dense.runtime.end_lines import end_lines
from convnext_dense.runtime.fingerprint import fingerprint
from convnext_dense.runtime.hook_errors import call_named
from convnext_dense.runtime.init_from_hook import init_from_hooks
from convnext_dense.runtime.loading import build_loader
from convnext_dense.runtime.lock import WorkDirLock
from convnext_dense.runtime.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from convnext_dense.runtime.non_finite import NonFiniteGuard
from convnext_dense.runtime.out_of_memory import explain_out_of_memory
from convnext_dense.runtime.prepare_hook import PrepareHook
from convnext_dense.runtime.progress import SHOWN, ProgressHook, quiet_terminal, shows_progress
from convnext_dense.runtime.random_state import random_state, set_random_state
from convnext_dense.runtime.start_line import start_line
from convnext_dense.runtime.stop_signals import SIGNALS, StopSignals, exit_status, name_of
from convnext_dense.runtime.trainable_hook import TrainableHook
from convnext_dense.runtime.workers import explain_killed_worker, wait_for_cause

LOOPS = {None: None, 'EpochBasedTrainLoop': EpochBasedTrainLoop,
         'IterBasedTrainLoop': IterBasedTrainLoop, 'ValLoop': ValLoop, 'TestLoop': TestLoop}


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner: safe reading, whole checkpoints, exact resume, guards.

    The arguments are mmengine's. Where a config names one of mmengine's four loops, the loop of
    the same name of :mod:`convnext_dense.runtime.loops` is built. The config may also have::

        bad_images = dict(strict=False, limit=.1)   # see BadImageList
        not_finite = dict(skip=10)                    # see NonFiniteGuard
        acceleration = dict(winograd=True)            # see Acceleration; False: nothing
        freeze = ['backbone', 'neck']                 # see TrainableHook
        lora = dict(rank=8)
        progress = True                               # one line on a terminal; False: the log
    """

    def __init__(self, model, work_dir, *, load_from=None, resume=False, cfg=None, **kwargs):
        self._resume_request = load_from if resume else None
        self.resumed_from = None
        self._resume_lines = []
        self._resumes = resume
        self._written = 0.  # when the last checkpoint was written, as it says
        self._pending_state = None
        self._config_text = None
        settings = cfg if cfg is not None else {}
        for name in LOADERS:
            if not isinstance(kwargs.get(name), (dict, DataLoader, type(None))):
                raise InputError(f'{name} is {kwargs[name]!r}; expected a dict with batch_size, '
                                 'num_workers, sampler and dataset')
        self._run_id = ''
        self._lock = WorkDirLock(work_dir)
        self._fingerprint = None
        self._trains = False
        self.non_finite_guard = NonFiniteGuard(**(settings.get('not_finite') or {}))
        self.stop_signals = StopSignals()
        self._bad_images = dict(settings.get('bad_images') or {})
        self._bad_image_lists = {}
        self._progress = None
        prepare_hook = PrepareHook(settings.get('acceleration'), settings.get('compile'))
        init_hooks = init_from_hooks(settings.get('init_from')) if kwargs.get('train_cfg') else []
        self._trainable = TrainableHook(settings.get('freeze'), settings.get('lora'))
        self._work_dir = os.path.abspath(work_dir)
        super().__init__(model, work_dir, load_from=load_from, resume=resume, cfg=cfg, **kwargs)
        self.register_hook(prepare_hook)
        self.register_hook(self._trainable)
        if self._progress is not None:
            self.register_hook(self._progress)
        for hook in init_hooks:
            self.register_hook(hook)
        files.raise_write_errors(self.logger)
        for line in self._resume_lines:
            self.logger.warning(line)

    def setup_env(self, env_cfg):
        """mmengine's set-up, which on its own knows no processes without GPUs."""
        if self._launcher == 'pytorch' and not torch.cuda.is_available() \
                and not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_model(self, model):
        """mmengine's building; parts are frozen and adapted before anything looks at parameters."""
        model = super().build_model(model)
        self._trainable.apply(unwrap(model))
        return model

    def wrap_model(self, model_wrapper_cfg, model):
        """mmengine's wrapping; on a CPU the processes have no device to name."""
        if self.distributed and not is_model_wrapper(model) and not torch.cuda.is_available():
            model_wrapper_cfg = dict(
                dict(find_unused_parameters=self.cfg.get('find_unused_parameters', False),
                     broadcast_buffers=False), **(model_wrapper_cfg or {}), device_ids=None)
            model_wrapper_cfg.setdefault('type', 'MMDistributedDataParallel')
        return super().wrap_model(model_wrapper_cfg, model)

    def build_logger(self, *args, **kwargs):
        """mmengine's logger, which leaves a terminal to the line of progress."""
        logger = super().build_logger(*args, **kwargs)
        if shows_progress(self.cfg):
            self._progress = ProgressHook(quiet_terminal(logger))
        return logger

    # -- what is read ----------------------------------------------------------------------------

    def set_randomness(self, seed, diff_rank_seed=False, deterministic=False):
        """Set the seeds; a resumed run gets its seed from the checkpoint, before any data."""
        if not self._run_id:
            chosen = [None]
            if is_main_process():
                chosen = [resuming.choose(
                    self._work_dir, self._resume_request,
                    checkpoint_folder(self.cfg, self._work_dir)) if self._resumes
                    else resuming.Start()]
            broadcast_object_list(chosen)
            start = chosen[0]
            self._run_id, self.resumed_from = start.run_id, start.path
            self._resume_lines = start.lines
            if start.seed is not None:
                if seed not in (None, start.seed):
                    self._resume_lines.append(
                        f'the seed {start.seed} of {start.path} is used, not {seed} of the config')
                seed = start.seed
                self._randomness_cfg = dict(self._randomness_cfg, seed=seed)
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def load_or_resume(self):
        """Load or resume, once; ``resume=True`` alone takes the newest whole checkpoint."""
        if self._has_loaded:
            return
        if self._trains:
            self._trainable.restart(self._bare_model())
        if self._resumes and self.resumed_from:
            self.resume(self.resumed_from)
        elif self._resumes:
            self.logger.info(f'no checkpoint to resume in {self.work_dir}: the run starts from '
                             'the beginning')
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(self, filename, map_location='cpu', strict=False,
                        revise_keys=((r'^module.', ''),)):
        """Load weights of any published format into the model.

        Args:
            filename (str): path, URL or zoo name.

        Returns:
            dict: what the file holds.

        Raises:
            InputError: unreadable, or weights of another model.
        """
        from convnext_dense.checkpoints import load_weights, read_checkpoint
        checkpoint = read_checkpoint(filename, map_location=map_location)
        model = self._bare_model()
        load_weights(model, checkpoint, name=filename)
        self.call_hook('after_load_checkpoint', checkpoint=dict(
            {key: value for key, value in checkpoint.items() if key != 'ema_state_dict'},
            state_dict=model.state_dict()))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename, resume_optimizer=True, resume_param_scheduler=True,
               map_location='cpu'):
        """Go on where a checkpoint was written; see :mod:`convnext_dense.runtime.resuming`."""
        from convnext_dense.checkpoints import read_checkpoint
        checkpoint = read_checkpoint(filename, map_location='cpu', mmap=False)
        self._resume = True  # hooks look at it
        with convert_errors(f'{filename}: its state cannot be gone on from',
                            'resume with the config that wrote it, or start from its weights '
                            'with load_from'):
            # a hook may swap tensors (EMA); the flag tells it that this is no start
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
            resuming.load_states(self, checkpoint, filename, resume_optimizer,
                                 resume_param_scheduler)
            self._pending_state = resuming.restore_progress(self, checkpoint, filename)
            self._written = files.written_at(checkpoint)[0]
        self._has_loaded = True
        self.logger.info(f'resumed {filename}: epoch {self.epoch}, iteration {self.iter}',
                         extra=SHOWN)

    def fingerprint(self) -> dict[str, str]:
        """What decides the numbers of this run, see :mod:`convnext_dense.runtime.fingerprint`."""
        if self._fingerprint is None:
            device = next(self._bare_model().parameters()).device
            self._fingerprint = fingerprint(self.cfg, device, self.deterministic)
        return self._fingerprint

    def _maybe_compile(self, target):
        """Nothing: mmengine would compile ``train_step``; the parts of the model are compiled."""

    def _bare_model(self):
        return unwrap(self.model)

    # -- what is built ---------------------------------------------------------------------------

    def build_dataloader(self, dataloader, seed=None, diff_rank_seed=False):
        """mmengine's data loader, its samples seeded and guarded."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        name = next((name for name in LOADERS if getattr(self, f'_{name}', None) is dataloader),
                    'a data loader')
        with convert_errors(name, 'look at its settings in the config'):
            return build_loader(dict(dataloader), name, self._bad_image_list(name),
                                self.seed if seed is None else seed, seed, diff_rank_seed)

    def _bad_image_list(self, loader):
        """The list of training, its validation included, or that of evaluation alone."""
        name = 'bad_images.jsonl' if loader == 'train_dataloader' or (
            loader == 'val_dataloader' and self._trains) else 'bad_images_test.jsonl'
        if name not in self._bad_image_lists:
            bad_images = BadImageList(Path(self.work_dir) / name, self._run_id, **self._bad_images)
            aside = bad_images.open() if is_main_process() else None
            barrier()
            if not is_main_process():
                bad_images.open(put_aside=False)
            if aside:
                self.logger.info(f'the bad images of another run are in {aside} now')
            self._bad_image_lists[name] = bad_images
        return self._bad_image_lists[name]

    def build_optim_wrapper(self, optim_wrapper):
        """mmengine's optimizer wrapper; what its settings break is one line."""
        with convert_errors('optim_wrapper', 'look at its settings in the config'):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler):
        """mmengine's schedules; what their settings break is one line."""
        with convert_errors('param_scheduler', 'look at its settings in the config'):
            return super().build_param_scheduler(scheduler)

    def build_evaluator(self, evaluator):
        """mmengine's evaluator; what its settings break is one line."""
        with convert_errors('an evaluator', 'look at val_evaluator and test_evaluator'):
            return super().build_evaluator(evaluator)

    def build_train_loop(self, loop):
        with convert_errors('train_cfg', 'look at its settings in the config'):
            return super().build_train_loop(self._own_loop(
                loop, EpochBasedTrainLoop if isinstance(loop, dict) and loop.get('by_epoch', True)
                else IterBasedTrainLoop))

    def build_val_loop(self, loop):
        with convert_errors('val_cfg', 'look at its settings in the config'):
            return super().build_val_loop(self._own_loop(loop, ValLoop))

    def build_test_loop(self, loop):
        with convert_errors('test_cfg', 'look at its settings in the config'):
            return super().build_test_loop(self._own_loop(loop, TestLoop))

    @staticmethod
    def _own_loop(loop, default):
        if not isinstance(loop, dict):
            return loop
        loop = dict(loop)
        if 'type' not in loop:
            loop.pop('by_epoch', None)
            return dict(loop, type=default)
        kind = loop['type']
        plain = kind.__module__.startswith('mmengine.') if isinstance(kind, type) else \
            isinstance(kind, str) and '.' not in kind.removeprefix('mmengine.')
        return dict(loop, type=LOOPS.get(type_name(loop), kind) if plain else kind)

    # -- what is done ----------------------------------------------------------------------------

    def train(self):
        """Launch training.

        Raises:
            InputError: a data worker was killed, too many bad images or bad steps.
            SystemExit: a signal came; the state was saved.
        """
        self._trains = True
        self._lock_work_dir()
        try:
            with self.stop_signals:
                model = self._guarded(super().train, 'train')
        finally:
            self._lock.release()
        self._list_bad_images()
        if is_main_process():
            for line in end_lines(self):
                self.logger.info(line, extra=SHOWN)
        return model

    def _lock_work_dir(self):
        refusal = [None]
        if is_main_process():
            try:
                self._lock.acquire()
            except InputError as error:
                refusal = [str(error)]
        broadcast_object_list(refusal)
        if refusal[0]:
            raise InputError(refusal[0])

    def val(self):
        """Launch validation."""
        metrics = self._guarded(super().val, 'val')
        self._list_bad_images()
        return metrics

    def test(self):
        """Launch testing."""
        metrics = self._guarded(super().test, 'test')
        self._list_bad_images()
        return metrics

    def _guarded(self, work, name):
        try:
            return self._with_progress(work)
        except Exception as error:
            if name == 'train' and not getattr(self.model, 'training', True):
                name = 'val'
            explained = explain_out_of_memory(error, self.cfg, name)
            if explained is not None:
                raise InputError(explained) from error
            # torch raises it from a signal handler, in the middle of whatever is being done
            explained = explain_killed_worker(wait_for_cause(error))
            if explained is not None:
                raise InputError(explained) from error
            if isinstance(error, OSError) and files.concerns_writing(error, self.work_dir):
                raise files.explain(error.filename or self.log_dir, error) from error
            if not isinstance(error, InputError):
                raise
            cause, lines = error.__cause__, str(error).strip().splitlines()
            if len(lines) == 1 and (cause is None or isinstance(cause, OSError)):
                raise
            # torch puts a data worker's traceback before the message
            text = lines[-1].split('InputError: ', 1)[-1]
            raise InputError(text + self._keep_traceback(error)) from cause

    def _with_progress(self, work):
        try:
            return work()
        finally:
            if self._progress is not None:
                self._progress.close()

    def _keep_traceback(self, error):
        """Write the traceback of an error that code of others raised to a file of the run."""
        path = os.path.join(self.log_dir, 'traceback.txt')
        try:
            Path(path).write_text(''.join(traceback.format_exception(error)))
        except OSError:  # the disk is full, perhaps that is the error
            return ''
        return f' (traceback: {path})'

    def call_hook(self, fn_name, **kwargs):
        """Call all hooks; a resumed run's random state is set last before the first step."""
        for hook in self.hooks:
            if hasattr(hook, fn_name):
                call_named(hook, fn_name, self, **kwargs)
        if fn_name == 'before_run':
            start_line(self)
        if fn_name == 'before_train' and self._pending_state is not None:
            set_random_state(self._pending_state)
            self._pending_state = None

    def after_step(self):
        """Called by the loops after a training step and its hooks."""
        self._lock.touch()
        for bad_images in self._bad_image_lists.values():
            bad_images.poll()
        asked = self.stop_signals.agreed(1 if self.non_finite_guard.stop else 0)
        if not asked or not self._may_stop():
            return
        self._stop(asked)

    def _stop(self, asked):
        path = self.save_now()
        if asked in SIGNALS:
            self.logger.info(f'{name_of(asked)}: the state after iteration {self.iter + 1} is in '
                             f'{path}; go on with: {typed_again("--resume")}', extra=SHOWN)
            raise SystemExit(exit_status(asked))
        why = self.non_finite_guard.stop or 'another process had to stop'
        raise InputError(f'{why}. The state before '
                         f'it is in {path}')

    def _may_stop(self):
        """Whether no gradients are half accumulated."""
        should_update = getattr(self.optim_wrapper, 'should_update', None)
        return should_update is None or should_update()

    def before_evaluation(self, steps):
        """Called by the loops before validation or testing; ``steps`` are this process's."""
        self._evaluation_steps = self.stop_signals.least(steps)  # that all processes have

    def after_evaluation_step(self, idx):
        """Called by the loops after a step of validation or testing."""
        self._lock.touch()
        for bad_images in self._bad_image_lists.values():
            bad_images.poll()
        if not self.stop_signals.active or idx >= self._evaluation_steps:
            return
        asked = self.stop_signals.agreed()
        if not asked or not self._may_stop():
            return
        for hook in self.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(self)  # the averages were in the place of the weights
        self.train_loop._iter -= 1  # as inside the last step, where checkpoints are written
        self._stop(asked)

    def _list_bad_images(self):
        for bad_images in self._bad_image_lists.values():
            text = bad_images.summary()
            if text:
                self.logger.warning(text)

    # -- what is written -------------------------------------------------------------------------

    def save_now(self):
        """Write the state after the running step; all processes must call it.

        Returns:
            str: the checkpoint.
        """
        from convnext_dense.runtime.checkpoint_hook import CheckpointHook
        for hook in self.hooks:
            if isinstance(hook, CheckpointHook):
                return hook.save_now(self)
        name = f'iter_{self.iter + 1}.pth'
        self.save_checkpoint(self.work_dir, name, by_epoch=False)
        if is_main_process():
            files.move_pointer(self.work_dir, os.path.join(self.work_dir, name))
        return os.path.join(self.work_dir, name)

    def save_checkpoint(self, out_dir, filename, file_client_args=None, save_optimizer=True,
                        save_param_scheduler=True, meta=None, by_epoch=True, backend_args=None):
        """Write a checkpoint, whole or not at all; the arguments are mmengine's."""
        checkpoint = self.collect_checkpoint(save_optimizer, save_param_scheduler, meta, by_epoch)
        if is_main_process():
            files.write_checkpoint(checkpoint, os.path.join(out_dir, filename))

    def collect_checkpoint(self, save_optimizer=True, save_param_scheduler=True, meta=None,
                           by_epoch=True, validated=False):
        """What a checkpoint holds; all processes must call it.

        Args:
            validated (bool): the validation after the last step is done.

        Returns:
            dict | None: None but in the main process. Its tensors are those of the run: write
            them before the next step, or copy them.
        """
        randoms = [random_state()]
        if get_world_size() > 1:
            if not is_main_process():
                # without SyncBN each process has running statistics of its own
                randoms[0]['statistics'] = resuming.statistics(self._bare_model())
            randoms = all_gather_object(randoms[0])
        if not is_main_process():
            return None
        meta = dict(meta or {})
        meta.setdefault('epoch', self.epoch + 1 if by_epoch else self.epoch)
        meta.setdefault('iter', self.iter if by_epoch else self.iter + 1)
        if self._config_text is None:
            self._config_text = self.cfg.pretty_text  # formatting it takes long
        meta.update(cfg=self._config_text, seed=self.seed,
                    experiment_name=self.experiment_name,
                    time=time.strftime('%Y%m%d_%H%M%S', time.localtime()),
                    mmengine_version=mmengine_version + get_git_hash())
        meta.update(self._trainable.meta())
        if hasattr(self.train_dataloader.dataset, 'metainfo'):
            meta.update(dataset_meta=self.train_dataloader.dataset.metainfo)
        checkpoint = dict(
            meta=meta,
            state_dict=weights_to_cpu(self._bare_model().state_dict()),
            message_hub=_to_cpu(self.message_hub.state_dict()))
        if save_optimizer:
            checkpoint['optimizer'] = _to_cpu(self.optim_wrapper.state_dict())
        if save_param_scheduler and self.param_schedulers is not None:
            checkpoint['param_schedulers'] = _scheduler_states(self.param_schedulers)
        # at least a millisecond after the one before, even where the clock was set back
        self._written = max(time.time(), self._written + 1e-3)
        checkpoint['convnext_dense'] = resuming.describe(self, randoms, validated, self._written)
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        return checkpoint


def _to_cpu(states):
    return apply_to(states, lambda value: hasattr(value, 'cpu'), lambda value: value.cpu())


def _scheduler_states(schedulers):
    if isinstance(schedulers, dict):
        return {name: _scheduler_states(group) for name, group in schedulers.items()}
    # a scheduler's method (OneCycleLR keeps one) would bring the object itself into the file,
    # which then no longer holds plain data only
    return [{key: value for key, value in scheduler.state_dict().items() if not callable(value)}
            for scheduler in schedulers]
