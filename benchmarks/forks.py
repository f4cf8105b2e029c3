"""Calls in forked children of this process, which has imported everything once.

``import mmdet.models`` alone takes 9 s; a fork takes milliseconds.
"""
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from convnext_dense.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
DONE, REFUSED, FAILED = 0, 2, 70


class Outcome(NamedTuple):
    """What became of a child.

    Attributes:
        status: ``DONE``, ``REFUSED`` with the toolkit's error of one line, ``FAILED`` with
            anything else; the exit status that the call asked for; minus a signal's number.
            None: it did not end in time and was killed.
        text: of the error, or what the child printed.
    """
    status: int | None
    text: str


def use_tests() -> None:
    """Let the drivers and tiny models of tests/runtime be imported."""
    sys.path[:0] = [str(REPOSITORY / 'tests' / 'runtime'), str(REPOSITORY / 'tests')]


def start(call: Callable[[], Any], printed: Path, group: bool = False) -> int:
    """Fork a child that calls ``call()``; returns its id.

    Args:
        call: its result is not kept.
        printed: file for what the child prints, its errors included.
        group: make it the leader of a session and process group of its own.
    """
    sys.stdout.flush()
    gc.freeze()  # or each collection of a child walks through, and copies, all that it inherited
    child = os.fork()
    if child:
        return child
    status = FAILED
    try:
        if group:
            os.setsid()
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        call()
        status = DONE
    except InputError as error:
        status = REFUSED if '\n' not in str(error) else FAILED
        print(f'error: {error}', file=sys.stderr)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def finish(child: int, printed: Path, seconds: float = 300.) -> Outcome:
    """Wait for a child; kill it where it does not end in time."""
    end = time.monotonic() + seconds
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome(None, printed.read_text(errors='replace'))
        time.sleep(.005)
    return Outcome(os.waitstatus_to_exitcode(found[1]), printed.read_text(errors='replace'))


def run(call: Callable[[], Any], printed: Path, seconds: float = 300.) -> Outcome:
    """Call in a child, and wait for it."""
    return finish(start(call, printed), printed, seconds)


def report(name: str, counts: dict, faults: list[str]) -> int:
    """Print a part's counts as JSON, and its faults; returns how many faults there are."""
    print(f'{name}: {json.dumps(counts)}, {len(faults)} faults', flush=True)
    for fault in faults:
        print(f'  {fault}', flush=True)
    return len(faults)
