"""Whether computing in bfloat16 pays on this CPU: measured, not read from its name."""
import functools
import time

import torch

#: how much faster products in bfloat16 must be. Norms, depthwise convolutions and casts do not
#: gain, and the faster forms compute in float32: at 3 (AVX512-BF16) whole models gain 1.3 to 1.7
PAYS_FROM = 2.


@functools.cache
def bfloat16_gain(rounds: int = 5) -> float:
    """How many times faster than in float32 this CPU multiplies matrices in bfloat16.

    Measured once a process, in about 0.2 s, on a product of the size of a pointwise
    layer; 1 and less where bfloat16 is emulated.

    Args:
        rounds (int): of which the fastest counts.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((2048, 384), (384, 1536)))
    seconds = []
    for one, other in ((x, weight), (x.bfloat16(), weight.bfloat16())):
        times = []
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            one @ other
            times.append(time.perf_counter() - begin)
        seconds.append(min(times[1:]))
    return seconds[0] / seconds[1]
