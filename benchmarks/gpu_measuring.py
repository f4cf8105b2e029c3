"""Measuring on a GPU: a budget of time, rounds in turns, the machine's own rates."""
import time
from statistics import median, quantiles

import torch

FLUSH = 2**28  # bytes written between calls, so that nothing is left in the L2 cache


class Budget:
    """What is left of the time that a run may take, and what was left out for it.

    Args:
        seconds (float): of the whole run.
    """

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.left_out = []

    def left(self):
        return self.end - time.monotonic()

    def section(self, share):
        """A budget of ``share`` of the time that is left; what it leaves out, this one lists."""
        part = Budget(share * max(self.left(), 0))
        part.left_out = self.left_out
        return part

    def allows(self, name):
        """Whether there is time for one more; if not, its name is noted."""
        if self.left() > 0:
            return True
        self.left_out.append(name)
        return False


class Clock:
    """Times calls on a device.

    Args:
        device (str): ``cuda``, or ``cpu`` to try the benchmark's own code.
        rounds (int): calls of each side that count.
    """

    def __init__(self, device, rounds=20):
        self.device, self.rounds = device, rounds
        self.flush = torch.empty(FLUSH if device == 'cuda' else 1, dtype=torch.int8, device=device)

    def seconds(self, call):
        """Time of one call, its launches included where the GPU waits for them."""
        self.flush.zero_()
        if self.device != 'cuda':
            begin = time.perf_counter()
            call()
            return time.perf_counter() - begin
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3

    def in_turns(self, sides, warm_ups=3):
        """Median and spread of each side's times, measured in turns.

        Args:
            sides (dict[str, Callable]): a call of each.

        Returns:
            dict[str, dict]: ``seconds``, and ``p10`` and ``p90`` of them.
        """
        for call in sides.values():
            for _ in range(warm_ups):
                call()
        times = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, call in sides.items():
                times[name].append(self.seconds(call))
        return {name: _summary(values) for name, values in times.items()}

    def build(self, build, modes):
        """Build a side and take the most bytes that its tensors need.

        Args:
            build (Callable): makes the side; whatever others hold does not count.
            modes (Sequence[str]): names of its methods; each is called twice, and the second call,
                when gradients' and the optimizer's memory is there, counts.

        Returns:
            tuple: the side, and the bytes by mode (None on a CPU).
        """
        cuda = self.device == 'cuda'
        before = torch.cuda.memory_allocated() if cuda else 0
        side, peaks = build(), {}
        for mode in modes:
            call = getattr(side, mode)
            call()
            if cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            call()
            peaks[mode] = torch.cuda.max_memory_allocated() - before if cuda else None
        return side, peaks


def _summary(values):
    deciles = quantiles(values, n=10, method='inclusive') if len(values) > 1 else values * 9
    return dict(seconds=median(values), p10=deciles[0], p90=deciles[8])


def machine_rates(clock, size):
    """What this machine does at best: the yardstick of all else.

    Args:
        size (int): rows and columns of the matrices; a copy moves 16 times their elements.

    Returns:
        dict: ``copy``, bytes read and written a second; ``bf16`` and ``fp32``, operations a second
        of a matrix product (a multiply-add is two), the latter without TF32.
    """
    source = torch.empty(16 * size * size, dtype=torch.bfloat16, device=clock.device).zero_()
    target = torch.empty_like(source)
    copy = clock.in_turns(dict(copy=lambda: target.copy_(source)))['copy']['seconds']
    rates = dict(copy=2 * source.numel() * source.element_size() / copy)
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        for name, dtype in (('bf16', torch.bfloat16), ('fp32', torch.float32)):
            a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
            seconds = clock.in_turns({name: lambda a=a, b=b: a @ b})[name]['seconds']
            rates[name] = 2 * size**3 / seconds
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32
    return rates


def ratios(times):
    """How many times longer each other side takes than ours."""
    return {name: value['seconds'] / times['ours']['seconds'] for name, value in times.items()
            if name != 'ours'}


def line(name, times, extra=''):
    """A line of results: ours in milliseconds with its spread, and the ratios."""
    ours = times['ours']
    text = f'{name:<44} {ours["seconds"] * 1e3:9.3f} ms ({ours["p10"] * 1e3:.3f}-' \
           f'{ours["p90"] * 1e3:.3f})'
    for side, ratio in ratios(times).items():
        text += f'  {ratio:5.2f}x {side}'
    return f'{text}  {extra}'.rstrip()
