"""Choosing plans by measurement, and remembering the choice."""
import json

import pytest
import torch
from triton.runtime.errors import OutOfResources

from convnext_dense.acceleration.triton import plans, tuning
from convnext_dense.acceleration.triton.tiles import Tile, chunks_of, pixel_tile

FAST, SLOW = plans.Plan('fused', Tile(7, 4, 128, 4)), plans.NATIVE
MAP = torch.zeros(2, 8, 14, 14).contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    tuning.choices.cache_clear()
    yield
    tuning.choices.cache_clear()


def choose(times, x=MAP, step='step', ways=(SLOW, FAST)):
    """The choice where each plan takes as long as ``times`` says, and the plans measured."""
    measured = []

    def run(plan):
        measured.append(plan)
        if plan not in times:
            raise OutOfResources(300, 255, 'registers')
        return times[plan]

    return tuning.choose(step, x, lambda: list(ways), run, seconds=lambda call: call()), measured


def test_the_fastest_plan_is_chosen_once_and_remembered_across_processes():
    assert choose({FAST: 1., SLOW: 2.}) == (FAST, [SLOW, FAST])
    assert choose({FAST: 3., SLOW: 2.}) == (FAST, [])
    tuning.choices.cache_clear()  # another process
    assert choose({FAST: 3., SLOW: 2.}) == (FAST, [])


def test_a_choice_holds_for_its_step_type_channels_and_size():
    choose({FAST: 1., SLOW: 2.})
    for x, step in ((MAP, 'other'), (MAP.bfloat16(), 'step'), (MAP[:, :4], 'step'),
                    (torch.zeros(8, 8, 14, 14), 'step'), (MAP[:, :, :7], 'step')):
        assert choose({FAST: 2., SLOW: 1.}, x, step)[0] == SLOW
    assert choose({FAST: 2., SLOW: 1.}, MAP[:, :, :13, :13])[1] == [SLOW, FAST]


def test_a_plan_that_cannot_run_is_left_out():
    assert choose({SLOW: 2.})[0] == SLOW
    assert choose({}, step='nothing runs')[0] == SLOW


def test_other_errors_are_raised_and_leave_no_choice_behind():
    def run(plan):
        raise torch.OutOfMemoryError('CUDA out of memory')

    with pytest.raises(torch.OutOfMemoryError):
        tuning.choose('step', MAP, lambda: [SLOW, FAST], run, seconds=lambda call: call())
    assert not tuning.choices('CPU').path.exists()
    assert choose({FAST: 1., SLOW: 2.}) == (FAST, [SLOW, FAST])


@pytest.mark.parametrize('content', [b'', b'{"step', b'[1, 2]', b'{"a": 3}', b'{"a": ["fused", 5]}',
                                     b'\xff\xfe', b'{"a": ["fused", ["x", 1, 1, 1]]}'])
def test_a_damaged_file_is_measured_anew_and_replaced(content):
    path = tuning.choices('CPU').path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    tuning.choices.cache_clear()
    assert choose({FAST: 1., SLOW: 2.}) == (FAST, [SLOW, FAST])
    assert json.loads(path.read_text())[tuning.key_of('step', MAP)] == ['fused', [7, 4, 128, 4]]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_remembered_plan_that_no_longer_exists_is_measured_anew():
    choose({FAST: 1., SLOW: 2.})
    tuning.choices.cache_clear()
    other = plans.Plan('fused', Tile(4, 4, 128, 4))
    assert choose({other: 1., SLOW: 2.}, ways=(SLOW, other)) == (other, [SLOW, other])


def test_choices_of_other_processes_are_kept():
    ours, theirs = (tuning.Choices(tuning.choices('CPU').path) for _ in range(2))
    ours.keep('a', FAST)
    theirs.keep('b', SLOW)
    assert tuning.Choices(ours.path).plans == {'a': FAST, 'b': SLOW}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    tuning.choices.cache_clear()
    assert choose({FAST: 1., SLOW: 2.})[0] == FAST
    assert choose({FAST: 1., SLOW: 2.}) == (FAST, [])


def test_on_a_cpu_the_first_plan_is_taken_unmeasured():
    assert tuning.choose('step', MAP, lambda: [SLOW, FAST], pytest.fail) == SLOW


@pytest.mark.parametrize('channels', [16, 40, 96, 128, 192, 352, 384, 512, 768, 1024, 1536, 2816])
def test_tiles_cover_the_channels_and_fit_a_program(channels):
    for plan in plans.dwconv_norm(channels) + plans.convolution(channels):
        if plan == plans.NATIVE:
            continue
        values = plan.tile.columns * plan.tile.channels / (32 * plan.tile.warps)
        assert 2 <= values <= 8 and plan.tile.warps <= 16
        assert plan.how == 'split' or plan.tile.channels >= channels
    for last in (True, False):
        for plan in plans.norm(channels, last):
            assert plan.tile.channels >= channels
    first, *others = plans.norm(channels, channels_last=False)
    assert first.tile.columns * first.tile.channels * 4 <= 2**16 or first.tile.columns == 16
    assert all(plan.tile.columns >= 16 for plan in others)


def test_deterministic_runs_take_the_first_plan_whatever_is_remembered():
    assert choose({FAST: 1., SLOW: 2.})[0] == FAST
    torch.use_deterministic_algorithms(True)
    try:
        assert choose({FAST: 1., SLOW: 2.}) == (SLOW, [])
    finally:
        torch.use_deterministic_algorithms(False)


def test_one_of_several_processes_measures_nothing(monkeypatch):
    class OnGpu:
        is_cuda = True
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: False)
    assert tuning.may_measure(OnGpu())
    monkeypatch.setattr(tuning, 'get_world_size', lambda: 2)
    assert not tuning.may_measure(OnGpu())


@pytest.mark.parametrize('pixels, images, blocks', [(1, 1, 1), (49, 64, 12), (60800, 2, 3)])
def test_chunks_cover_the_pixels(pixels, images, blocks):
    tile = pixel_tile(96)
    chunk, chunks = chunks_of(pixels, images, blocks, tile, torch.device('cpu'))
    assert chunk % tile.columns == 0 and chunk * chunks >= pixels > chunk * (chunks - 1)
