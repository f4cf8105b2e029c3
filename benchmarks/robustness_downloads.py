"""Files fetched from a server that misbehaves in a way drawn from a seed, several ways at once.

The files are checkpoints, fetched as published weights are: with the size or the hash, where they
are known, and a check of the archive. Whatever the server does: either the file under the final
name is one that it had, the published one where size or hash are known, or there is no file and one
line says why.
"""
import hashlib
import io
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import forks

SIZE = 300_000
SECONDS = 60.  # in which a fetch must end


def misbehave(server: Any, rng: random.Random, body: bytes) -> tuple[dict, set[bytes], str]:
    """Set up a server; returns what the fetch is told, the whole versions served, and how."""
    versions, how = {body}, []
    expected: dict[str, Any] = dict(size=len(body), sha256=hashlib.sha256(body).hexdigest())
    known = rng.choice(['size and hash', 'hash', 'size', 'nothing'])
    if known in ('size', 'nothing'):
        del expected['sha256']
    if known in ('hash', 'nothing'):
        del expected['size']
    ways = dict(
        breaks=lambda: tuple(rng.randrange(len(body)) for _ in range(rng.randrange(1, 8))),
        statuses=lambda: tuple(rng.choice([500, 502, 503, 429, 404, 403, 416])
                               for _ in range(rng.randrange(1, 6))),
        resets=lambda: rng.randrange(1, 4), ranges=lambda: False,
        etag=lambda: rng.choice([None, 'W/"1"', '"2"']),
        length=lambda: rng.choice([False, 'abc', '-5', '9' * 40, '12, 13', '5',
                                   str(len(body) * 2)]),
        answer=lambda: rng.choice([
            (204, {}, b''), (200, {'Content-Length': '0'}, b''), (200, {}, b''),
            (206, {'Content-Range': 'bytes 10-14/15'}, b'tail!'),
            (206, {'Content-Length': '5'}, b'tail!'),
            (206, {'Content-Range': 'bytes x-y/z'}, b'tail!')]),
        loops=lambda: True,
        changes=lambda: rng.choice([body[::-1], body + b'more', body[:len(body) // 2]]),
        body=lambda: rng.choice([body[:-1], body + b'x', body[:-1] + b'x', b'<html>sorry</html>']))
    for name in rng.sample(sorted(ways), rng.choice([1, 1, 2, 2, 3])):
        value = ways[name]()
        setattr(server, name, value)
        how.append(f'{name}={value!r:.40}')
        if name in ('changes', 'body'):
            versions.add(value)
    return expected, versions, f'{", ".join(how)}; known: {known}'


def checkpoint(rng: random.Random) -> bytes:
    """A file of torch.save."""
    buffer = io.BytesIO()
    torch.save(dict(weight=torch.frombuffer(bytearray(rng.randbytes(SIZE)), dtype=torch.uint8)),
               buffer)
    return buffer.getvalue()


def measure(folder: Path, count: int = 100, seed: int = 0) -> int:
    """Fetch ``count`` files; returns the number of faults."""
    forks.use_tests()
    from broken_server import serving

    from convnext_dense.checkpoints.reading import fault_of
    from convnext_dense.download import download
    rng, outcomes, faults = random.Random(seed), Counter(), []
    for number in range(count):
        body = checkpoint(rng)
        with serving(body) as server:
            expected, versions, how = misbehave(server, rng, body)
            target = folder / f'{number}.pth'
            for _ in range(2):  # the second start goes on from what the first one left
                ended = forks.run(partial(
                    download, f'{server.url}/{number}.pth', target, progress=False,
                    retry_delay=.001, check=fault_of, **expected), folder / 'printed', SECONDS)
                outcome = {forks.DONE: 'fetched', forks.REFUSED: 'refused', None: 'hung'}.get(
                    ended.status, ended.text)
                found = target.read_bytes() if target.exists() else None
                if outcome not in ('fetched', 'refused'):
                    faults.append(f'{number} {how}: {outcome}')
                elif (found is None) != (outcome == 'refused'):
                    faults.append(f'{number} {how}: {outcome}, but the file is there')
                elif found is not None and found not in versions:
                    faults.append(f'{number} {how}: a file that the server never had')
                elif found is not None and (
                        'sha256' in expected and found != body or
                        'size' in expected and len(found) != len(body)):
                    faults.append(f'{number} {how}: not the published file')
            outcomes[outcome] += 1
    return forks.report(f'{count} downloads', outcomes, faults)
