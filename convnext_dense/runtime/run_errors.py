"""The errors that end a run, as one line."""
from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.errors import InputError
from convnext_dense.runtime import files
from convnext_dense.runtime.out_of_memory import explain_out_of_memory
from convnext_dense.runtime.workers import explain_killed_worker, wait_for_cause

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


@contextmanager
def explained_errors(runner: Runner, work: str) -> Iterator[None]:
    """Say in one line what ended a run: memory, a worker's death, the disk or bad input.

    The log's folder gets ``traceback.txt`` where an error of one line hides code of others.

    Args:
        runner: of the run.
        work: ``train``, ``val`` or ``test``.

    Raises:
        InputError: in place of these errors; others stay what they are.
    """
    try:
        yield
    except Exception as error:
        if work == 'train' and not getattr(runner.model, 'training', True):
            work = 'val'
        explained = explain_out_of_memory(error, runner.cfg, work)
        if explained is not None:
            raise InputError(explained) from error
        # torch raises it from a signal handler, in the middle of whatever is being done
        explained = explain_killed_worker(wait_for_cause(error))
        if explained is not None:
            raise InputError(explained) from error
        if isinstance(error, OSError) and files.concerns_writing(error, runner.work_dir):
            raise files.explain(error.filename or runner.log_dir, error) from error
        if not isinstance(error, InputError):
            raise
        cause, lines = error.__cause__, str(error).strip().splitlines()
        if len(lines) == 1 and (cause is None or isinstance(cause, OSError)):
            raise
        # torch puts a data worker's traceback before the message
        text = lines[-1].split('InputError: ', 1)[-1]
        raise InputError(text + _keep_traceback(error, runner.log_dir)) from cause
    finally:
        if runner.progress_hook is not None:
            runner.progress_hook.close()


def _keep_traceback(error, log_dir):
    """Write the traceback of an error that code of others raised to a file of the run."""
    path = os.path.join(log_dir, 'traceback.txt')
    try:
        Path(path).write_text(''.join(traceback.format_exception(error)))
    except OSError:  # the disk is full, perhaps that is the error
        return ''
    return f' (traceback: {path})'
