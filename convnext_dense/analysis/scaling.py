"""Memory, communication and time of a training in many processes: pure arithmetic.

A ring hands each byte on N - 1 times: an all-gather and a reduce-scatter of B bytes each send
(N - 1) / N x B from every process, an all-reduce both. DDP all-reduces the gradients, while the
backward pass, two thirds of a step, computes the others. FSDP gathers the parameters for the
forward pass and again for the backward pass, and reduce-scatters the gradients, each while another
group computes. What does not fit behind the computation lengthens the step.
"""
from collections.abc import Iterator, Sequence
from math import log2
from typing import NamedTuple

from convnext_dense.analysis.gpus import Gpu
from convnext_dense.parallel import DdpSettings, FsdpSettings

FLOAT, HALF = 4, 2  # bytes
FORWARD_AND_BACKWARD = 3  # times a forward pass
BACKWARD = 2 / 3  # share of a step without recomputed blocks
#: seconds that a collective takes to reach the next process, whatever its bytes
HOP = 5e-6


class Job(NamedTuple):
    """One process's work in a step.

    Attributes:
        groups: parameters of each group of blocks, the last is what is in none.
        trained: share of the parameters that get gradients.
        moments: values a parameter that the optimizer keeps.
        averages: copies of the weights that are averaged.
        kept: bytes that are kept for the backward pass; None where nobody knows.
        operations: floating-point operations of a forward pass, two of a multiply-add.
        recomputed: of these, what checkpointed blocks compute again.
        mixed: it computes in bfloat16 or float16.
    """
    groups: Sequence[int]
    trained: float
    moments: int
    averages: int
    kept: int | None
    operations: float
    recomputed: float
    mixed: bool

    @property
    def parameters(self) -> int:
        return sum(self.groups)


class Memory(NamedTuple):
    """Bytes of a process at the peak of a step, by what they are for."""
    weights: float
    gradients: float
    optimizer: float
    averages: float
    buffers: float
    kept: float

    @property
    def total(self) -> float:
        return sum(self)


class Step(NamedTuple):
    """Seconds of a step, and bytes that a process sends in it."""
    compute: float
    sent: float
    communication: float
    exposed: float

    @property
    def total(self) -> float:
        return self.compute + self.exposed


def memory(job: Job, processes: int, parallel: DdpSettings | FsdpSettings) -> Memory:
    """What a process holds at the peak of a step, which is in the backward pass.

    Args:
        job: of a process.
        processes: how many share the model, or its images.
        parallel: the strategy.
    """
    count, trained = job.parameters, job.parameters * job.trained
    kept = float(job.kept or 0)
    if isinstance(parallel, DdpSettings):
        copies = 0 if parallel.gradient_as_bucket_view or processes == 1 else 1
        return Memory(FLOAT * count, FLOAT * trained, FLOAT * trained * job.moments,
                      FLOAT * count * job.averages, FLOAT * trained * copies, kept)
    gradients, buffers = max(_backward_moments(job, processes, parallel), key=sum)
    return Memory(FLOAT * count / processes, gradients, FLOAT * trained * job.moments / processes,
                  FLOAT * count * job.averages / processes, buffers, kept)


def _backward_moments(job: Job, processes: int, parallel: FsdpSettings
                      ) -> Iterator[tuple[float, float]]:
    """Bytes of the gradients shared out so far, and of what FSDP2 holds whole, for each group.

    The backward pass comes to the last group first. While a group computes, the one before it is
    fetched, and the gradients of the one behind it lie in the buffer of their exchange, which torch
    holds until the next group has its own. A group's weights are given back before its gradients
    are copied into such a buffer. What is in no group of blocks is whole all the time.
    """
    blocks, rest, trained = job.groups[:-1], job.groups[-1], job.trained
    gathered, reduced = _bytes(parallel)
    done, of_rest, exchanged = 0., FLOAT * rest * (1 + trained), 0.
    for number, group in reversed(list(enumerate(blocks))):
        before = blocks[:number] if not parallel.reshard_after_forward else blocks[
            max(number - 1, 0):number]
        buffer = trained * reduced * group
        yield done, of_rest + gathered * (sum(before) + trained * group) + max(
            gathered * group + exchanged, buffer)
        done += FLOAT * trained * group / processes
        exchanged = buffer
    yield done, of_rest


def _bytes(parallel: FsdpSettings) -> tuple[int, int]:
    """Of a parameter of a block that is gathered, and of a gradient that is exchanged."""
    gathered = HALF if parallel.param_dtype == 'bfloat16' else FLOAT
    reduced = HALF if (parallel.reduce_dtype or parallel.param_dtype) == 'bfloat16' else FLOAT
    return gathered, reduced


def sent_bytes(job: Job, processes: int, parallel: DdpSettings | FsdpSettings) -> float:
    """Bytes that each process sends in a step."""
    trained = job.parameters * job.trained
    ring = (processes - 1) / processes
    if isinstance(parallel, DdpSettings):
        return 2 * ring * trained * (HALF if parallel.bfloat16_gradients else FLOAT)
    blocks, rest = sum(job.groups[:-1]), job.groups[-1]
    gathered, reduced = _bytes(parallel)
    times = 2 if parallel.reshard_after_forward else 1
    return ring * (blocks * (times * gathered + job.trained * reduced)
                   + rest * (2 * FLOAT + job.trained * FLOAT))


def collectives(job: Job, parallel: DdpSettings | FsdpSettings) -> int:
    """Messages of a step that each wait for all processes."""
    if isinstance(parallel, DdpSettings):
        return -(-round(FLOAT * job.parameters * job.trained) // (parallel.bucket_cap_mb * 2**20))
    return 3 * len(job.groups) if parallel.reshard_after_forward else 2 * len(job.groups) + 1


def step(job: Job, processes: int, parallel: DdpSettings | FsdpSettings, gpu: Gpu, link: float,
         machine: int, utilization: float) -> Step:
    """How long a step takes.

    Args:
        job: of a process.
        processes: in all.
        parallel: the strategy.
        gpu: of each process.
        link: bytes a second that each process sends to other machines.
        machine: GPUs of a machine.
        utilization: share of the GPU's peak that the model's operations reach.
    """
    peak = gpu.half if job.mixed else gpu.single
    compute = (FORWARD_AND_BACKWARD * job.operations + job.recomputed) / (peak * utilization)
    if processes == 1:
        return Step(compute, 0., 0., 0.)
    sent = sent_bytes(job, processes, parallel)
    slowest = gpu.inside if processes <= machine else min(gpu.inside, link)
    waits = collectives(job, parallel) * 2 * log2(processes) * HOP
    communication = sent / slowest + waits
    hidden = compute * (BACKWARD if isinstance(parallel, DdpSettings) else 1.)
    return Step(compute, sent, communication, max(communication - hidden, 0.))


def hiding_link(job: Job, processes: int, parallel: DdpSettings | FsdpSettings,
                seconds: float) -> float:
    """Bytes a second of a link behind whose computation of so many seconds all is hidden."""
    hidden = seconds * (BACKWARD if isinstance(parallel, DdpSettings) else 1.)
    waits = collectives(job, parallel) * 2 * log2(max(processes, 2)) * HOP
    return sent_bytes(job, processes, parallel) / max(hidden - waits, 1e-9)
