"""This tree against another one: ``python -m benchmarks.versions CHECKOUT [ROW ...]``.

``CHECKOUT`` is a checkout of another commit (``git worktree add --detach CHECKOUT COMMIT``). Each
row of ``benchmarks.peers`` that both have runs in two processes, one in each tree, which take a
step in turns: what else the machine does meets both. A ratio is the other tree's time over this
one's in the same round; the median and the quartiles are printed.
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

REPOSITORY = Path(__file__).parents[1]
STEPS = '''
import gc, sys, time
from benchmarks.rows import load_rows
answers, sys.stdout = sys.stdout, sys.stderr
row = load_rows().get(sys.argv[1])
if row is not None:
    side = row.sides()['ours']()
    side.step()
    gc.collect()
    print('ready', file=answers, flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        side.step()
        print(time.perf_counter() - begin, file=answers, flush=True)
'''


class Tree:
    """A process that runs our side of a row in a checkout.

    Args:
        folder: the checkout.
        row: name of the row.
    """

    def __init__(self, folder: Path, row: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, '-c', STEPS, row], cwd=folder, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=str(folder)))

    @property
    def ready(self) -> bool:
        """Wait for the first step; False where the tree does not have the row."""
        assert self.process.stdout
        if self.process.stdout.readline():
            return True
        _, errors = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f'{self.folder}: {errors[-2000:]}')
        return False

    def step(self) -> float:
        """Seconds of a step."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def measure(row: str, other: Path, seconds: float, least_rounds: int = 6) -> str:
    """Time a row in turns; one line of text."""
    trees = [Tree(other, row), Tree(REPOSITORY, row)]
    ready = [tree.ready for tree in trees]
    times: list[list[float]] = [[], []]
    begin = time.perf_counter()
    while all(ready) and (len(times[0]) < least_rounds
                          or time.perf_counter() - begin < seconds):
        for place in (0, 1) if len(times[0]) % 2 else (1, 0):
            times[place].append(trees[place].step())
    for tree in trees:
        tree.close()
    if not all(ready):
        return f'{row}: not in both'
    ratios = [theirs / ours for theirs, ours in zip(*times, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    theirs, ours = map(median, times)
    return (f'{row}: {theirs:.3g} s -> {ours:.3g} s, {median(ratios):.2f}x ({low:.2f}-{high:.2f}) '
            f'in {len(ratios)} rounds')


def main() -> None:
    from benchmarks.rows import load_rows
    rows = list(load_rows())
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog='rows: ' + ', '.join(rows))
    parser.add_argument('checkout', type=Path, help='folder of the other tree')
    parser.add_argument('rows', nargs='*', metavar='ROW', help='default: all')
    parser.add_argument('--seconds', type=float, default=25., help='spent on the rounds of a row, '
                        'which are 6 at least (default: %(default)g)')
    args = parser.parse_args()
    for row in args.rows or rows:
        print(measure(row, args.checkout.resolve(), args.seconds), flush=True)


if __name__ == '__main__':
    main()
