"""A run on a terminal: one line with step, time left, loss and the metric so far.

What is logged goes to the file alone then, but for warnings and what a person asked for. Where
the output is no terminal (a file, a pipe, a notebook) the log stands there as mmengine writes it.
"""
import logging
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from tqdm import tqdm

#: ``extra`` of a log line that a terminal shows, too
SHOWN = dict(shown=True)
BAR = '{desc} {n_fmt}/{total_fmt} |{bar:20}| {remaining} left{postfix}'
WIDTH = 100  # characters, where the terminal does not say
LOSS_STEPS = 20  # over which the shown loss is averaged


def shows_progress(settings: Mapping[str, Any]) -> bool:
    """Whether a run with these settings shows its progress in place of its log."""
    return bool(settings.get('progress', True)) and sys.stdout.isatty() and is_main_process()


class TerminalHandler(logging.Handler):
    """Writes warnings, and lines with ``extra=SHOWN``, above the line of progress.

    Attributes:
        everything (bool): write all lines: an evaluation's tables.
    """

    everything = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:  # a library's advice to its callers is for the file
            return self.everything or 'deprecated' not in record.getMessage()
        return self.everything or getattr(record, 'shown', False)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f'{record.levelname.lower()}: {text}'
        tqdm.write(text, file=sys.stdout)


def quiet_terminal(logger: MMLogger) -> TerminalHandler:
    """Let a logger's terminal show what a person needs; its file stays as it is."""
    handler = TerminalHandler()
    for index, other in enumerate(logger.handlers):
        if isinstance(other, logging.StreamHandler) and not isinstance(other, logging.FileHandler):
            handler.setLevel(other.level)
            logger.handlers[index] = handler
    return handler


class ProgressHook(Hook):
    """The line of progress.

    Args:
        handler (TerminalHandler): of the run's logger.
    """

    priority = 'LOWEST'  # what the other hooks found is shown

    def __init__(self, handler: TerminalHandler) -> None:
        self.handler = handler
        self.bar: tqdm | None = None
        self.loss = self.figure = ''

    def before_train(self, runner: Runner) -> None:
        """Show where the run starts."""
        runner.logger.info(f'the log is in {runner.log_dir}', extra=SHOWN)
        self._open('step', runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """One step further."""
        scalars = runner.message_hub.log_scalars
        if 'train/loss' in scalars:
            self.loss = f'loss {scalars["train/loss"].mean(LOSS_STEPS):.3g}'
        self._show()
        if self.bar is not None:
            self.bar.update()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                       outputs: Any = None) -> None:
        """One batch of a validation further."""
        self._show(f'evaluating {batch_idx + 1}/{len(runner.val_dataloader)}')
        if self.bar is not None:
            self.bar.refresh()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """The new figure."""
        self.figure = figure_text(metrics or {}, *_best(runner))
        self._show()

    def after_train(self, runner: Runner) -> None:
        """Leave the last line standing."""
        self.close()

    def before_test(self, runner: Runner) -> None:
        """Show the batches of a test."""
        self._open('batch', len(runner.test_dataloader), 0)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Any = None) -> None:
        """One batch further; after the last one come the figures."""
        if self.bar is not None:
            self.bar.update()
        if batch_idx + 1 >= len(runner.test_dataloader):
            self.close()
            self.handler.everything = True

    def close(self) -> None:
        """End the line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _open(self, unit, total, done):
        # smoothing=0: validations and checkpoints are part of the time that is left
        self.bar = tqdm(total=total, initial=done, desc=unit, smoothing=0, file=sys.stdout,
                        bar_format=BAR, **_width())

    def _show(self, *more):
        if self.bar is not None:
            text = ', '.join(filter(None, (self.loss, self.figure, *more)))
            self.bar.set_postfix_str(text, refresh=False)


def figure_text(metrics: Mapping[str, Any], key: str | None = None,
                best: float | None = None) -> str:
    """The figure that tells the best weights, as ``bbox_mAP 0.312 (best 0.334)``.

    Args:
        metrics: of a validation.
        key: of the figure; by default the first one.
        best: of all validations so far.
    """
    key = key if key in metrics else next(iter(metrics), None)
    if key is None:
        return ''
    value = metrics[key]
    if not isinstance(value, (int, float)):
        return ''
    text = f'{key.rpartition("/")[2]} {value:.4g}'
    return text + (f' (best {best:.4g})' if best is not None else '')


def _width():
    """tqdm's settings; a container's terminal may say that it is 0 characters wide."""
    return dict(dynamic_ncols=True) if shutil.get_terminal_size((0, 0)).columns else dict(
        ncols=WIDTH)


def _best(runner):
    """The key by which the best weights are chosen, and its best value so far."""
    for hook in runner.hooks:
        keys = getattr(hook, 'key_indicators', None)
        if keys and keys[0] != 'auto':
            score = runner.message_hub.runtime_info.get(
                'best_score' if len(keys) == 1 else f'best_score_{keys[0]}')
            return keys[0], score if isinstance(score, (int, float)) else None
    return None, None
