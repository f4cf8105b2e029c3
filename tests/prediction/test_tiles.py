"""Tiles cover an image, and what they found is put together."""
import numpy as np
import pytest

from convnext_dense.prediction.tiles import Tile, join_label_maps, keep_best, tiles_of


@pytest.mark.parametrize('height, width, size, overlap', [
    (100, 100, 100, .2), (101, 300, 100, .2), (1000, 77, 128, 0), (513, 2049, 256, .5)])
def test_tiles_cover_the_image_with_the_overlap(height, width, size, overlap):
    tiles = tiles_of(height, width, size, overlap)
    covered = np.zeros((height, width), bool)
    for tile in tiles:
        assert tile.crop(covered).shape == (min(size, height), min(size, width))
        tile.crop(covered)[:] = True
    assert covered.all()
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            assert end - begin >= int(size * overlap)


def kept(boxes, scores, tiles, labels=None):
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return keep_best(np.array(boxes, np.float32), np.array(scores, np.float32), labels, tiles,
                     100, 180, .5).tolist()


LEFT, RIGHT, WHOLE = Tile(0, 0, 100, 100), Tile(80, 0, 180, 100), Tile(0, 0, 180, 100)


def test_an_object_in_two_tiles_is_one():
    assert kept([[82, 10, 98, 30], [82, 11, 97, 30]], [.6, .8], [LEFT, RIGHT]) == [1]


def test_a_whole_box_wins_over_a_cut_one_of_a_higher_score():
    assert kept([[70, 10, 100, 40], [70, 10, 130, 40]], [.9, .5], [LEFT, WHOLE]) == [1]
    assert kept([[85, 10, 100, 40], [85, 10, 115, 40]], [.9, .5], [LEFT, RIGHT]) == [1]


def test_a_cut_box_that_nothing_covers_stays():
    assert kept([[70, 10, 100, 40]], [.9], [LEFT]) == [0]


def test_classes_and_neighbours_do_not_suppress_each_other():
    assert kept([[10, 10, 30, 30], [10, 10, 30, 30]], [.5, .9], [LEFT, LEFT], [0, 1]) == [1, 0]
    assert kept([[10, 10, 30, 30], [28, 10, 50, 30]], [.5, .9], [LEFT, LEFT]) == [1, 0]
    assert kept([[70, 10, 100, 40], [70, 10, 130, 40]], [.9, .5], [LEFT, WHOLE],
                [0, 1]) == [0, 1]


def test_the_border_of_the_image_cuts_nothing():
    assert kept([[0, 0, 50, 50], [0, 0, 90, 60]], [.9, .5], [LEFT, LEFT]) == [0, 1]


def test_nothing_found_is_nothing():
    assert keep_best(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), [],
                     100, 180, .5).tolist() == []


def test_label_maps_are_divided_in_the_middle_of_their_overlap():
    tiles = tiles_of(150, 260, 100, .2)
    whole = np.arange(150 * 260).reshape(150, 260)
    np.testing.assert_array_equal(join_label_maps([tile.crop(whole) for tile in tiles], tiles,
                                                  150, 260), whole)
    joined = join_label_maps([np.full((100, 100), i) for i in range(2)], [LEFT, RIGHT], 100, 180)
    assert (joined[:, :90] == 0).all() and (joined[:, 90:] == 1).all()
