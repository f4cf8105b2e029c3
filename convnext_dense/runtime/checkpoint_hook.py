"""mmengine's CheckpointHook with checkpoints that are whole or not there."""
from __future__ import annotations

import copy
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import print_log

from convnext_dense.errors import InputError
from convnext_dense.registry import HOOKS
from convnext_dense.runtime import files
from convnext_dense.runtime.checkpoint_folder import CheckpointFolder

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """Write checkpoints so that a kill at any instant loses nothing that was finished.

    The order is always: the new file (temporary name, synced, renamed), the pointer
    ``last_checkpoint``, and only then older files are removed. Pointer and message hub name
    checkpoints relative to their folder, so that a copied work directory stands alone. A
    checkpoint that falls due while gradients are being accumulated is written after the update
    that ends the accumulation.

    Args:
        asynchronous (bool): copy the state and write it in a thread while training goes on; costs
            the memory of one copy. The order and the guarantees are the same; an error is raised
            at the next step. Defaults to False.
        kwargs: those of mmengine's CheckpointHook.
    """

    def __init__(self, *args: Any, asynchronous: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asynchronous = asynchronous
        self._due = False
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._outdated: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Make the folder, and remove what killed runs left in it."""
        if not hasattr(runner, 'collect_checkpoint'):
            raise InputError('convnext_dense.CheckpointHook needs the toolkit\'s Runner: train '
                             'with convnext-dense train, or set '
                             "runner_type='convnext_dense.Runner'")
        hub = runner.message_hub
        # a resumed run has this from a file; mmengine removes what the numbers lead to
        kept = hub.runtime_info.get('keep_ckpt_ids', ())
        hub.update_info('keep_ckpt_ids', [step for step in kept if isinstance(step, int)
                                          and not isinstance(step, bool) and step >= 0]
                        if isinstance(kept, (list, tuple)) else [])
        super().before_train(runner)
        self.folder = CheckpointFolder(self.out_dir, self.filename_tmpl)
        self._find_best(hub)
        if is_main_process():
            os.makedirs(self.out_dir, exist_ok=True)
            for folder in {str(self.out_dir), runner.work_dir}:
                for name in files.remove_partial(folder):
                    print_log(f'{folder}: removed {name}, left by a killed run', 'current')
            self._remove_outdated(runner)

    def _find_best(self, hub):
        """The best checkpoints of a resumed run, which the message hub knows by name."""
        def find(key):
            path = self.folder.find(hub.runtime_info.get(key))
            return str(path) if path else None
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = find('best_ckpt')
        else:
            self.best_ckpt_path_dict = {key: find(f'best_ckpt_{key}')
                                        for key in self.key_indicators}

    def _remove_outdated(self, runner):
        """Remove what a kill left between writing a checkpoint and removing older ones."""
        outdated = runner.message_hub.runtime_info.get('outdated_ckpts', ())
        paths = [self.folder.find(name) for name in outdated] if isinstance(
            outdated, (list, tuple)) else []
        needed = {self.folder.find(value) for key, value in runner.message_hub.runtime_info.items()
                  if key in ('last_ckpt', 'interrupted_ckpt') or str(key).startswith('best_ckpt')}
        if runner.resumed_from:
            needed.add(self.folder.find(os.path.abspath(runner.resumed_from)))
        for path in paths:
            if path is not None and path not in needed:
                self._remove(path)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Write a checkpoint where one is due."""
        self._raise_error()
        if not self.by_epoch:
            self._due |= bool(self.every_n_train_iters(runner, self.interval, self.save_begin) or (
                self.save_last and self.is_last_train_iter(runner)))
        if self._due and is_between_updates(runner):
            self._due = False
            runner.logger.info(f'Saving checkpoint at {runner.iter + 1} iterations')
            self._save_checkpoint(runner)

    def after_train(self, runner: Runner) -> None:
        """Wait for the last file, then publish."""
        self.wait()
        super().after_train(runner)

    def save_now(self, runner: Runner) -> str:
        """Write the state after the running step, whatever the interval.

        Returns:
            str: the checkpoint.
        """
        self.wait()
        step = runner.iter + 1
        if not self.by_epoch:
            if self.last_ckpt is None or not str(self.last_ckpt).endswith(
                    '/' + self.filename_tmpl.format(step)):
                self._save_checkpoint(runner)
                self.wait()
            return str(self.last_ckpt)
        path = os.path.join(self.out_dir, f'iter_{step}.pth')
        runner.message_hub.update_info('interrupted_ckpt', os.path.basename(path))
        self._write(runner, path, [], meta=dict(epoch=runner.epoch, iter=step), by_epoch=False)
        self.wait()
        return path

    def wait(self) -> None:
        """Wait until an asynchronous checkpoint is written, and raise its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._raise_error()

    def _raise_error(self):
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _save_checkpoint_with_step(self, runner, step, meta, validated=False):
        path = os.path.join(self.out_dir, self.filename_tmpl.format(step))
        self.last_ckpt = path
        outdated = list(self._outdated)
        self._outdated = []
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.keep_ckpt_ids.popleft()
                outdated.append(os.path.join(self.out_dir, self.filename_tmpl.format(oldest)))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        hub = runner.message_hub
        if 'interrupted_ckpt' in hub.runtime_info:
            interrupted = self.folder.find(hub.pop_info('interrupted_ckpt'))
            outdated += [str(interrupted)] if interrupted else []
        outdated = [old for old in outdated if old != path]
        hub.update_info('last_ckpt', os.path.basename(path))
        self._write(runner, path, outdated, meta=meta, by_epoch=self.by_epoch,
                    save_optimizer=self.save_optimizer,
                    save_param_scheduler=self.save_param_scheduler, validated=validated)

    def _write(self, runner, path, outdated, pointer=True, **settings):
        """Write one file, move the pointer, remove what is outdated: in this order."""
        self.wait()
        # in the file too: if a kill comes before the removal, the resumed run removes them
        runner.message_hub.update_info('outdated_ckpts',
                                       [os.path.basename(old) for old in outdated])
        checkpoint = runner.collect_checkpoint(**settings)
        if checkpoint is None:
            return
        work = (checkpoint, path, runner.work_dir if pointer else None, outdated)
        if not self.asynchronous:
            self._work(*work)
            return
        work = (copy.deepcopy(checkpoint), *work[1:])
        self._thread = threading.Thread(target=self._work_aside, args=work, name='checkpoint')
        self._thread.start()

    def _work_aside(self, *work):
        try:
            self._work(*work)
        except BaseException as error:  # raised again in the main thread
            self._error = error

    def _work(self, checkpoint, path, pointer_folder, outdated):
        files.write_checkpoint(checkpoint, path)
        if pointer_folder is not None:
            files.move_pointer(pointer_folder, path)
        for old in outdated:
            self._remove(old)

    @staticmethod
    def _remove(path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics):
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [list(metrics)[0]])
        step = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        better = False
        for key, rule in zip(self.key_indicators, self.rules):
            better |= self._save_if_better(runner, metrics[key], key, rule, step, meta)
        if better and self.last_ckpt is not None:
            # the last checkpoint must know the best score, and which older best one to remove
            self._save_checkpoint_with_step(runner, step, dict(meta), validated=True)

    def _save_if_better(self, runner, score, key, rule, step, meta):
        hub, single = runner.message_hub, len(self.key_indicators) == 1
        score_key = 'best_score' if single else f'best_score_{key}'
        path_key = 'best_ckpt' if single else f'best_ckpt_{key}'
        best = hub.runtime_info.get(score_key, self.init_value_map[rule])
        if score is None or not self.is_better_than[key](score, best):
            return False
        old = self.best_ckpt_path if single else self.best_ckpt_path_dict[key]
        name = f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_')
        path = os.path.join(self.out_dir, name)
        if single:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path
        hub.update_info(score_key, score)
        hub.update_info(path_key, name)
        self._write(runner, path, [], pointer=False, meta=dict(meta), by_epoch=False,
                    save_optimizer=False, save_param_scheduler=False, validated=True)
        if old and old != path:
            # removed after the last checkpoint, which still names it, was written again
            self._outdated.append(old)
            if self.last_ckpt is None and is_main_process():
                self.wait()
                self._remove(self._outdated.pop())
        runner.logger.info(f'The best checkpoint with {score:0.4f} {key} at {step} '
                           f'{"epoch" if self.by_epoch else "iter"} is saved to {name}.')
        return True

    def _publish_model(self, runner, ckpt_path):
        """Write a copy with ``published_keys`` only, its hash in its name."""
        if not is_main_process():
            return
        import hashlib
        import io

        import torch

        from convnext_dense.checkpoints import read_checkpoint
        checkpoint = {key: value for key, value in read_checkpoint(ckpt_path).items()
                      if key in self.published_keys}
        buffer = io.BytesIO()
        torch.save(checkpoint['state_dict'], buffer)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
        path = f'{os.path.splitext(ckpt_path)[0]}-{digest}.pth'
        files.write_checkpoint(checkpoint, path)
        print_log(f'{ckpt_path} is published as {path}', 'current')


def is_between_updates(runner: Runner) -> bool:
    """Whether no gradients are half accumulated: only then a state can be saved."""
    should_update = getattr(runner.optim_wrapper, 'should_update', None)
    return should_update is None or should_update()
