"""The hook that writes a training's report while it runs: ``report.html`` in the work directory."""
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.runner import Runner

from convnext_dense.analysis.learning_rates import optimizer_groups
from convnext_dense.analysis.memory import peak_bytes
from convnext_dense.analysis.run_report.facts import facts_of
from convnext_dense.analysis.run_report.record import Record
from convnext_dense.analysis.run_report.validation import ValidationImages, chosen
from convnext_dense.analysis.run_report.writing import write_run_report
from convnext_dense.errors import in_one_line
from convnext_dense.model_wrappers import unwrap
from convnext_dense.registry import HOOKS
from convnext_dense.runtime.workers import explain_killed_worker

SHARE = 100  # writing the page takes at most one part in so many of the time
LOG_INTERVAL = 10  # steps, where the run has no hook that logs


@HOOKS.register_module()
class RunReportHook(Hook):
    """Writes ``report.html`` in the work directory.

    It shows curves, samples, the worst images and what was skipped, and reloads itself while the
    run goes on. It is made from mmengine's scalars and from the lines and drawings in the folder
    ``report`` beside it, so that a resumed run goes on in the same report. Only the main process
    writes. No random number is drawn, and the model is not called: the images are those of the
    validation itself. A report that cannot be written (a full disk) is one line in the log, and
    training goes on.

    Args:
        enabled (bool): False writes nothing.
        images (int): validation images that are drawn at each validation, always the same.
        worst (int): images with the largest errors that are drawn at each validation.
        score (float): least score of a drawn object, in [0, 1].
        seconds (float): least time between two writings of the page. It is longer where writing
            takes more than 1 % of the time.
    """

    priority = 'LOWEST'  # what the other hooks logged is there

    def __init__(self, enabled: bool = True, images: int = 4, worst: int = 6, score: float = .3,
                 seconds: float = 30.) -> None:
        self.enabled, self.images, self.worst = enabled, images, worst
        self.score, self.seconds = score, seconds
        self.record: Record | None = None
        self._said: set = set()
        self._next = 0.  # time of the next writing
        self._validation: ValidationImages | None = None

    # -- training --------------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        """Write down how the run starts."""
        if not (self.enabled and is_main_process()):
            return
        with self._spared(runner):
            self._groups = optimizer_groups(runner.optim_wrapper, unwrap(runner.model))
            self._interval = next((hook.interval for hook in runner.hooks
                                   if isinstance(hook, LoggerHook)), LOG_INTERVAL)
            self._skipped = _skipped(runner)
            self._rates: list[float] = []
            record = Record(runner.work_dir, getattr(runner, 'run_id', '') or runner.timestamp)
            self.record = record
            record.append('start', log=runner.timestamp, step=runner.iter, facts=facts_of(
                runner, _monitor(runner.hooks)), rates=list(self._groups))
            self._write(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the learning rates of a step that is logged, before the schedules move them."""
        if self.record is not None and self._logs(runner, batch_idx):
            with self._spared(runner):
                self._rates = [rate() for rate in self._groups.values()]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Write down the learning rates and what was skipped, and now and then the page."""
        if self.record is None:
            return
        with self._spared(runner):
            step = runner.iter + 1
            if _skipped(runner) > self._skipped:
                self._skipped = _skipped(runner)
                self.record.append('skipped', step=step, problem=runner.non_finite_guard.last)
            if self._rates:
                rates, self._rates = self._rates, []
                self.record.append('rates', step=step, rates=rates,
                                   memory=round(peak_bytes() / 2**20, 1))
            if time.monotonic() > self._next:
                self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Write down that the training is done."""
        self._end(runner, 'finished', '', runner.iter)

    def after_stopped(self, runner: Runner, error: BaseException) -> None:
        """Write down what ended the training early; the toolkit's runner calls it."""
        stopped = isinstance(error, (SystemExit, KeyboardInterrupt))
        text = '' if stopped else str(error) if isinstance(error, ValueError) else in_one_line(
            error)
        self._end(runner, 'stopped' if stopped else 'failed', text, runner.iter)

    def _end(self, runner, state, text, step):
        if self.record is not None:
            with self._spared(runner):
                self.record.append('end', step=step, state=state, text=text)
                self._write(runner, running=False)

    # -- validation ------------------------------------------------------------------------------

    def before_val_epoch(self, runner: Runner) -> None:
        """Choose the images to draw."""
        self._validation = None
        if self.record is not None:
            with self._spared(runner):
                self._validation = ValidationImages(
                    runner.val_dataloader.dataset, runner.cfg, self.worst, self.score,
                    chosen(len(runner.val_dataloader), self.images))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                       outputs: Sequence | None = None) -> None:
        """Look at the images of a batch."""
        if self._validation is not None:
            with self._spared(runner):
                self._validation.look(batch_idx, data_batch, outputs or ())

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Write the drawings, and the page."""
        if self.record is None or self._validation is None:
            return
        validation, self._validation = self._validation, None
        with self._spared(runner):
            self.record.append('validation', step=runner.iter,
                               **validation.write(self.record, runner.iter))
            self._write(runner)

    def _logs(self, runner, batch_idx):
        """Whether mmengine's hook logs this step."""
        loader = runner.train_dataloader
        return self.every_n_inner_iters(batch_idx, self._interval) or (
            len(loader) <= self._interval and self.end_of_epoch(loader, batch_idx))

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, runner, running=True):
        start = time.monotonic()
        write_run_report(runner.work_dir, running=running)
        end = time.monotonic()
        self._next = end + max(self.seconds, SHARE * (end - start))

    @contextmanager
    def _spared(self, runner: Runner) -> Iterator[None]:
        """Training goes on whatever becomes of its report; each cause is one line in the log."""
        try:
            yield
        except Exception as error:
            if explain_killed_worker(error) is not None:  # torch raises it anywhere
                raise
            cause = OSError if isinstance(error, OSError) else type(error)
            if cause in self._said:
                return
            self._said.add(cause)
            self._next = time.monotonic() + self.seconds
            text = f'{error.filename or "a file"} cannot be written: {error.strerror}' \
                if isinstance(error, OSError) else in_one_line(error)
            with suppress(OSError):  # the log's disk is full, too
                runner.logger.warning(
                    f'{Path(runner.work_dir, "report.html")} is not up to date: {text}; training '
                    'goes on (default_hooks.report.enabled=False leaves the report out)')


def _skipped(runner):
    """Steps that the guard against NaN skipped so far."""
    return getattr(getattr(runner, 'non_finite_guard', None), 'skipped', 0)


def _monitor(hooks):
    """The figure that tells the best weights, and whether more or less of it is better."""
    for hook in hooks:
        keys = getattr(hook, 'key_indicators', None)
        if isinstance(hook, CheckpointHook) and keys and keys[0] != 'auto':
            return dict(monitor=keys[0], rule=hook.rules[0])
    return {}
