"""Good and bad images through ``convnext-dense serve``, in parallel, with clients that give up.

The server is a process of its own with a tiny detector and a tiny segmenter. What it is held to:
every answer is one of those that its upload may get, none is a 500; the same image has the same
answer at the end as at the start; its memory does not grow; nothing stays in its folder of
uploads; it ends when it is told to.
"""
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from benchmarks import forks
from benchmarks.uploads import ask, bad_uploads, changed_uploads, good_uploads, send

AT_ONCE = 6  # requests
BUSY = 503
GROWTH = 1.05  # of the memory in the second half of the requests, against that in the first


def tiny_models(folder):
    """Work directories of a detector and a segmenter, trained for two steps."""
    forks.use_tests()
    import tiny

    from convnext_dense.datasets.shapes import write_shapes
    from convnext_dense.runtime import Runner
    write_shapes(folder / 'shapes', train=4, val=2, size=64)
    for name, config in (('detector', tiny.detector_config(
            folder / 'shapes', folder / 'detector', workers=0, epochs=1)), (
            'segmenter', tiny.segmenter_config(
                folder / 'shapes', folder / 'segmenter', workers=0, iters=2))):
        config.custom_hooks = []
        Runner.from_cfg(config).train()
        print(f'  {name} trained', flush=True)
    return [folder / 'detector', folder / 'segmenter']


class ServerProcess:
    """``convnext-dense serve`` as a process, ready to be asked.

    Args:
        models: that it serves.
        folder: where its uploads and its log go.
        options: of the command.
    """

    def __init__(self, models, folder, options=()):
        self.folder = Path(folder)
        (self.folder / 'tmp').mkdir(parents=True)
        self.log = self.folder / 'log.txt'
        with open(self.log, 'w') as log:
            # a shell's job in the background ignores Ctrl-C, and so would what it starts
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'convnext_dense.cli', 'serve', *map(str, models), '--port',
                 '0', '--device', 'cpu', *options], cwd=forks.REPOSITORY, stdout=subprocess.PIPE,
                stderr=log, text=True, env=dict(os.environ, TMPDIR=str(self.folder / 'tmp')),
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL))
        self.url = None
        for line in self.process.stdout:
            if line.startswith('serving '):
                self.url = line.split(' at ')[1].split()[0]
                break
        if self.url is None:
            raise RuntimeError(self.log.read_text())
        self._info = psutil.Process(self.process.pid)

    def memory(self):
        """Bytes that the process holds in memory."""
        return self._info.memory_info().rss

    def uploads(self):
        """Files that were uploaded and are still there."""
        return [path for path in (self.folder / 'tmp').glob('convnext-dense-*/*')]

    def stop(self, seconds=60):
        """End it as Ctrl-C does; returns the exit status, or None where it had to be killed."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self.process.stdout.close()


def bombard(server, uploads, models, at_once=AT_ONCE):
    """Send uploads, some at once, to each of the models in turns; some clients give up.

    Returns:
        tuple: counts of the statuses, seconds of each answer, the memory after each, the faults.
    """
    counts, seconds, memory, faults = Counter(), [], [], []
    lock = threading.Lock()

    def send_numbered(numbered):
        number, upload = numbered
        if number % 10 == 9:
            send(server.url, upload, share=(.5, 1.)[number % 20 == 9]).close()
            with lock:
                counts['given up'] += 1
            return
        begin = time.perf_counter()
        while True:
            try:
                answer = ask(server.url, upload, model=models[number % len(models)],
                             preview=number % 3 == 0, label_map=True)
            except OSError as error:
                with lock:
                    faults.append(f'{upload.name!r}: {type(error).__name__}: {error}')
                return
            with lock:
                counts[answer.status] += 1
            if answer.status != BUSY:
                break
            time.sleep(int(answer.headers['retry-after']))
        with lock:
            seconds.append(time.perf_counter() - begin)
            memory.append(server.memory())
            text = answer.content[:300].decode(errors='replace')
            if answer.status not in upload.statuses:
                faults.append(f'{upload.name!r}: status {answer.status}: {text}')
            elif answer.status != 200 and '\n' in answer.json['detail']:
                faults.append(f'{upload.name!r}: more than one line: {text}')
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(send_numbered, enumerate(uploads)))
    return counts, seconds, memory, faults


def mixed_uploads(count, seed=0):
    """``count`` uploads: every kind of good and bad images, and changed ones, in any order."""
    kinds = [*good_uploads(seed=seed), *good_uploads(640, 480, seed=seed), *bad_uploads(seed)]
    changed = changed_uploads(max(count - 2 * len(kinds), count // 4), seed)
    pool = kinds + changed
    made = (pool * (count // len(pool) + 1))[:count]
    random.Random(seed).shuffle(made)
    return made


def answer_without_time(server, upload, model):
    answer = ask(server.url, upload, model=model, threshold=.05).json
    answer.pop('seconds', None)
    return answer


def measure(folder: Path, count: int = 200, seed: int = 0, models=None) -> int:
    """``count`` uploads through a server, after as many of each kind as warm it up.

    Returns:
        int: the number of faults.
    """
    models = models or tiny_models(folder)
    server = ServerProcess(models, folder / 'server')
    names = [Path(model).name for model in models]
    good = good_uploads(seed=seed)[0]
    try:
        before = [answer_without_time(server, good, name) for name in names]
        bombard(server, mixed_uploads(60, seed + 1), names)
        warm = server.memory()
        counts, seconds, memory, faults = bombard(server, mixed_uploads(count, seed), names)
        if [answer_without_time(server, good, name) for name in names] != before:
            faults.append('the same image has another answer than before')
        half = len(memory) // 2
        first, second = max(memory[:half]), max(memory[half:])
        if second > GROWTH * first:
            faults.append(f'memory grows: {first / 2**20:.0f} to {second / 2**20:.0f} MiB')
        if server.uploads():
            faults.append(f'uploads are left: {server.uploads()}')
        print(f'  slowest answer {max(seconds):.1f} s, median {sorted(seconds)[half]:.2f} s; '
              f'memory {warm / 2**20:.0f} MiB when warm, at most {first / 2**20:.0f} in the first '
              f'half and {second / 2**20:.0f} in the second')
    finally:
        status = server.stop()
    if status != 130:
        faults.append(f'Ctrl-C ends it with {status}')
    if 'Traceback' in (log := server.log.read_text()):
        faults.append(f'an unhandled error: {log[-1500:]}')
    return forks.report(f'{count} uploads', dict(counts), faults)
