"""Pieces of work in threads of their own."""
import multiprocessing
import threading
import time

import pytest
import torch

from convnext_dense.acceleration.cpu.threads import even_chunks, for_each


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_all_pieces_are_computed_each_with_one_thread(threads):
    seen = []

    def function(piece):
        time.sleep(.01)
        seen.append((piece, threading.get_ident(), torch.get_num_threads()))
    for_each(function, range(12))
    assert sorted(piece for piece, *_ in seen) == list(range(12))
    assert len({thread for _, thread, _ in seen}) == threads
    assert {number for *_, number in seen} == {1}
    assert torch.get_num_threads() == threads
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]


@pytest.mark.parametrize('mode', [torch.inference_mode, torch.no_grad])
def test_gradients_are_off_as_they_are_outside(threads, mode):
    seen, weight = [], torch.ones(3, requires_grad=True)
    with mode():
        out = torch.zeros(4)

        def function(piece):
            seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
            out[piece] = (weight * piece).sum()
        for_each(function, range(4))
    assert set(seen) == {(False, mode is torch.inference_mode)}
    assert out.tolist() == [0, 3, 6, 9] and not out.requires_grad


def test_an_error_of_a_piece_is_raised(threads):
    def function(piece):
        if piece == 2:
            raise ValueError('of piece 2')
    with pytest.raises(ValueError, match='of piece 2'):
        for_each(function, range(5))


def _sum_in_a_process(queue):
    sums = torch.zeros(4)

    def function(piece):
        sums[piece] = piece
    with torch.no_grad():
        for_each(function, range(4))
    queue.put(float(sums.sum()))


def test_a_forked_process_has_threads_of_its_own():
    context = multiprocessing.get_context('fork')
    for_each(lambda piece: None, range(4))
    queue = context.Queue()
    process = context.Process(target=_sum_in_a_process, args=(queue, ))
    process.start()
    assert queue.get(timeout=60) == 6
    process.join()


@pytest.mark.parametrize('number, most', [(1, 5), (7, 2), (100, 32), (1000, 96), (3, 100)])
def test_even_parts(number, most, threads):
    parts = even_chunks(number, most)
    assert [place for part in parts for place in range(number)[part]] == list(range(number))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= most and min(sizes) > 0 and len(set(sizes[:-1])) <= 1
    assert len(parts) >= min(threads, number)
