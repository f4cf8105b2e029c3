"""mmengine's loops, which go on at the batch where a killed run stopped.

The loops know how far the run is (:meth:`progress`), which a checkpoint keeps, and start there
(:meth:`start_from`): the sampler begins at the next batch, nothing is loaded twice, and a
validation that was due when the run was killed is made up for.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from mmengine.runner import BaseLoop
from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterLoop
from mmengine.runner import TestLoop as MMEngineTestLoop
from mmengine.runner import ValLoop as MMEngineValLoop
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.registry import LOOPS
from convnext_dense.runtime.samples import Iterated, start_at
from convnext_dense.runtime.step_errors import named_cause

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner

NO_BATCH = ('the training data give not a single batch: too few images for '
            'train_dataloader.batch_size with drop_last=True')


class _Step(BaseLoop):
    """One training step, watched; shared by both training loops."""

    passed = False

    def _step(self, batch_idx, data_batch, end_of_pass=False):
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=data_batch)
        with named_cause('training', self, data_batch, self._attempt):
            outputs = runner.non_finite_guard.train_step(runner.model, data_batch,
                                                         runner.optim_wrapper)
        self._count(batch_idx)
        runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=data_batch,
                         outputs=outputs)
        runner.after_step()
        self._iter += 1

    def _attempt(self, data_batch):
        model: Any = self.runner.model
        model.train_step(data_batch, self.runner.optim_wrapper)


@LOOPS.register_module()
class EpochBasedTrainLoop(_Step, MMEngineEpochLoop):
    """mmengine's loop over epochs; the arguments are the same."""

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, *args: Any,
                 **kwargs: Any) -> None:
        super().__init__(runner, dataloader, *args, **kwargs)
        if not len(self.dataloader):
            raise InputError(NO_BATCH)
        self.batches = Iterated(self.dataloader)
        self._batch = 0  # batches of the running epoch that are done
        # in a checkpoint: validation of the last epoch may be due
        self._epoch_ended: str | bool = False

    def progress(self) -> dict[str, Any]:
        """How far the run is, for a checkpoint; called from hooks after a step or an epoch."""
        ended = self._epoch_ended
        return dict(kind='epoch', epoch=self._epoch + (ended == 'now'),
                    batch=0 if ended else self._batch, validation_due=bool(ended))

    def start_from(self, progress: dict[str, Any]) -> None:
        """Start from ``progress``."""
        self._epoch = progress['epoch']
        self._batch = min(progress['batch'], len(self.dataloader))
        self._epoch_ended = 'before' if progress['validation_due'] else False

    def run(self) -> nn.Module:
        """Launch training."""
        self.runner.call_hook('before_train')
        if self._epoch_ended:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate_if_due(self):
        self._decide_current_val_interval()
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)):
            self.runner.val_loop.run()
        self._epoch_ended = False

    def run_epoch(self) -> None:
        """Iterate over what is left of one epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._batch
        start_at(self.dataloader, self._epoch, first)
        if first < len(self.dataloader):
            for idx, data_batch in enumerate(self.batches, first):
                self.run_iter(idx, data_batch)
        self._epoch_ended = 'now'
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._epoch_ended = 'before'
        self._batch = 0

    def run_iter(self, idx: int, data_batch: Any) -> None:
        self._step(idx, data_batch)

    def _count(self, idx):
        self._batch = idx + 1


@LOOPS.register_module()
class IterBasedTrainLoop(_Step, MMEngineIterLoop):
    """mmengine's loop over iterations; the arguments are the same."""

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, *args: Any,
                 **kwargs: Any) -> None:
        super().__init__(runner, dataloader, *args, **kwargs)
        self.batches = Iterated(self.dataloader)
        self.dataloader_iterator = _Endless(self.batches)
        self._validated = None  # the iteration after which the last validation was

    def progress(self) -> dict[str, Any]:
        """How far the run is, for a checkpoint; called from hooks after a step or validation."""
        iterator = self.dataloader_iterator
        return dict(kind='iteration', epoch=iterator.epoch, batch=iterator.batch,
                    validation_due=True)

    def start_from(self, progress: dict[str, Any]) -> None:
        """Start from ``progress``."""
        self.dataloader_iterator.start_from(progress['epoch'], progress['batch'])
        if not progress['validation_due']:
            self._validated = self._iter

    def run(self) -> nn.Module:
        """Launch training."""
        runner = self.runner
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        if self._iter:
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def _validate_if_due(self):
        self._decide_current_val_interval()
        if (self.runner.val_loop is not None and self._iter >= self.val_begin
                and self._validated != self._iter
                and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)):
            self._validated = self._iter
            self.runner.val_loop.run()

    def run_iter(self, data_batch: Any) -> None:
        self._step(self._iter, data_batch)

    def _count(self, idx):
        pass


class _Endless:
    """Batches without end: one pass over the data loader after the other."""

    def __init__(self, batches):
        self.batches = batches
        self.epoch = self.batch = 0
        self.iterator = None

    def start_from(self, epoch, batch):
        self.epoch, self.batch, self.iterator = epoch, batch, None

    def __iter__(self):
        return self

    def __next__(self):
        for _ in range(2):
            if self.iterator is None:
                start_at(self.batches.loader, self.epoch, self.batch)
                self.iterator = iter(self.batches)
            try:
                batch = next(self.iterator)
            except StopIteration:
                self.epoch, self.batch, self.iterator = self.epoch + 1, 0, None
                continue
            self.batch += 1
            return batch
        raise InputError(NO_BATCH)


class _Evaluation(BaseLoop):
    """Validation and testing alike."""

    dataloader: Any
    passed = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.batches = Iterated(self.dataloader)

    def run(self):
        """Launch the evaluation."""
        loader = self.dataloader
        self.runner.before_evaluation(len(loader))
        self.dataloader = self.batches
        try:
            return super().run()
        finally:
            self.dataloader = loader

    def run_iter(self, idx, data_batch):
        if data_batch is not None:
            with named_cause('evaluation', self, data_batch, self._attempt):
                super().run_iter(idx, data_batch)
        self.runner.after_evaluation_step(idx)

    @torch.no_grad()
    def _attempt(self, data_batch):
        outputs = self.runner.model.test_step(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)


@LOOPS.register_module()
class ValLoop(_Evaluation, MMEngineValLoop):
    """mmengine's validation; batches of which no image could be read are passed over."""


@LOOPS.register_module()
class TestLoop(_Evaluation, MMEngineTestLoop):
    """mmengine's testing; batches of which no image could be read are passed over."""

    __test__ = False  # no test case of pytest
