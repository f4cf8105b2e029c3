"""Memory, communication and time in many processes, from numbers that can be done by hand."""
import pytest

from convnext_dense.analysis.gpus import GPUS, bytes_a_second, gpu_named
from convnext_dense.analysis.scaling import Job, hiding_link, memory, sent_bytes, step
from convnext_dense.errors import InputError
from convnext_dense.parallel import DdpSettings, FsdpSettings

M = 10**6
#: 100 million parameters, 80 of them in four groups of blocks
JOB = Job([10 * M, 20 * M, 20 * M, 30 * M, 20 * M], 1., 2, 1, 1000 * M, 1e12, 0., False)


def test_ddp_holds_everything_in_each_process():
    found = memory(JOB, 8, DdpSettings())
    assert found == (400 * M, 400 * M, 800 * M, 400 * M, 400 * M, 1000 * M)
    assert found.total == 3400 * M
    assert memory(JOB, 8, DdpSettings(gradient_as_bucket_view=True)).buffers == 0
    assert memory(JOB, 1, DdpSettings()).buffers == 0


def test_fsdp_shares_weights_gradients_moments_and_averages():
    found = memory(JOB, 8, FsdpSettings())
    assert found.weights == found.averages == 50 * M and found.optimizer == 100 * M
    assert found.kept == 1000 * M


@pytest.mark.parametrize('settings, gradients, buffers', [
    # the last but one: its weights and gradients, the weights of the one before it, the last
    # one's gradients, which are exchanged, the rest with its gradients
    (dict(), 15, 4 * (20 + 20 + 20 + 30 + 20 + 20)),
    (dict(param_dtype='bfloat16'), 15, 2 * (20 + 20 + 20 + 30) + 4 * (20 + 20)),
    (dict(param_dtype='bfloat16', reduce_dtype='float32'), 15,
     2 * (20 + 20 + 20) + 4 * (30 + 20 + 20)),
    # all are whole until the last one has its gradients
    (dict(reshard_after_forward=False), 0, 4 * (80 + 30 + 20 + 20))])
def test_fsdp_s_peak_is_where_the_largest_groups_have_their_gradients(
        settings, gradients, buffers):
    found = memory(JOB, 8, FsdpSettings(**settings))
    assert (found.gradients, found.buffers) == (gradients * M, buffers * M)


def test_fsdp_s_peak_is_in_the_largest_group_where_the_others_are_small():
    found = memory(JOB._replace(groups=[10 * M, 10 * M, 80 * M, 20 * M]), 8, FsdpSettings(
        param_dtype='bfloat16', reduce_dtype='float32'))
    # a copy of the gradients in float32 takes more than the weights, which are given back before
    assert (found.gradients, found.buffers) == (0, (2 * (10 + 80) + 4 * (80 + 20 + 20)) * M)


def test_fsdp_s_peak_is_near_the_end_where_groups_are_small():
    small = JOB._replace(groups=[10 * M] * 8 + [20 * M])
    found = memory(small, 2, FsdpSettings())
    # the second group; the first one has nothing left to fetch. Those of the third are exchanged
    assert (found.gradients, found.buffers) == (4 * 60 / 2 * M, 4 * (4 * 10 + 20 + 20) * M)


def test_frozen_parameters_have_no_gradients_and_moments():
    frozen = JOB._replace(trained=.25)
    assert memory(frozen, 1, DdpSettings())[:3] == (400 * M, 100 * M, 200 * M)
    assert sent_bytes(frozen, 2, DdpSettings()) == 100 * M


def test_a_ring_sends_each_byte_n_minus_1_times():
    assert sent_bytes(JOB, 2, DdpSettings()) == 400 * M
    assert sent_bytes(JOB, 4, DdpSettings()) == 600 * M
    assert sent_bytes(JOB, 4, DdpSettings(bfloat16_gradients=True)) == 300 * M
    # gathered twice and reduced once: 3 of what an all-reduce does in 2
    assert sent_bytes(JOB, 4, FsdpSettings()) == 900 * M
    assert sent_bytes(JOB, 4, FsdpSettings(reshard_after_forward=False)) == (
        900 - 240) * M
    half = FsdpSettings(param_dtype='bfloat16', reduce_dtype='float32')
    assert sent_bytes(JOB, 2, half) == .5 * (80 * (2 * 2 + 4) + 20 * 12) * M


def test_one_process_computes_only():
    gpu = gpu_named('h100')
    found = step(JOB, 1, DdpSettings(), gpu, 50e9, 8, .5)
    assert found == (3e12 / (67e12 * .5), 0, 0, 0)
    mixed = step(JOB._replace(mixed=True, recomputed=1e12), 1, DdpSettings(), gpu, 50e9, 8, .5)
    assert mixed.total == 4e12 / (989e12 * .5)


def test_communication_hides_behind_the_backward_pass_until_it_is_longer():
    gpu = GPUS['h100']
    fast, slow = (step(JOB, 64, DdpSettings(), gpu, link, 8, .5) for link in (50e9, 1e9))
    assert fast.exposed == 0 and fast.total == fast.compute
    assert slow.exposed == pytest.approx(slow.communication - 2 / 3 * slow.compute)
    assert slow.communication == pytest.approx(.7875, rel=.01)  # 800 MB x 63 / 64 at 1 GB/s


def test_inside_of_a_machine_the_link_between_machines_is_not_used():
    gpu = GPUS['a100']
    assert step(JOB, 8, DdpSettings(), gpu, 1e6, 8, .5) == step(
        JOB, 8, DdpSettings(), gpu, 1e12, 8, .5)


@pytest.mark.parametrize('parallel', [DdpSettings(), FsdpSettings()])
def test_with_the_link_that_hides_all_nothing_is_left(parallel):
    gpu, compute = GPUS['h100'], step(JOB, 1, parallel, GPUS['h100'], 1e9, 8, .5).compute
    link = hiding_link(JOB, 64, parallel, compute)
    assert step(JOB, 64, parallel, gpu, 1.01 * link, 8, .5).exposed == 0
    assert step(JOB, 64, parallel, gpu, .9 * link, 8, .5).exposed > 0


def test_links_are_written_in_bits_and_bytes():
    assert bytes_a_second('400Gb') == bytes_a_second('50GB') == bytes_a_second('400 Gbit/s') == 50e9
    assert bytes_a_second('1.6Tb') == 2e11
    for text in ('fast', '400', '0Gb', '-1Gb', '400Gx'):
        with pytest.raises(InputError, match='--link .*400Gb'):
            bytes_a_second(text)


def test_other_gpus_are_refused():
    with pytest.raises(InputError, match='--gpu tpu: known are v100'):
        gpu_named('tpu')
