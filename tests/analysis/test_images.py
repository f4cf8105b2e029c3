"""Images with instances and label maps drawn on them."""
import numpy as np

from convnext_dense.analysis.images import (
    draw_instances,
    draw_label_map,
    grid,
    palette,
    with_title,
)

GREY = np.full((40, 60, 3), 100, np.uint8)


def test_palette_has_different_colours():
    assert len(set(palette(20))) == 20


def test_only_the_instance_is_drawn():
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 20:35, 30:50] = True
    drawn = draw_instances(GREY, np.array([[30., 20., 50., 35.]]), mask, [0], ['disc'], zoom=2)
    assert drawn.shape == (80, 120, 3) and drawn.dtype == np.uint8
    assert (drawn[:20] == 100).all() and (drawn[:, :50] == 100).all()
    assert (drawn[50:60, 70:90] != 100).any(axis=2).all()


def test_no_instances_leave_the_image_as_it_is():
    drawn = draw_instances(GREY, np.zeros((0, 4)), np.zeros((0, 40, 60)), [], ['disc'], zoom=1)
    assert (drawn == GREY).all()


def test_ignored_pixels_keep_the_images_colour():
    labels = np.full((40, 60), 255)
    labels[:, :30] = 0
    drawn = draw_label_map(GREY, labels, ['background', 'disc'], zoom=1)
    assert (drawn[:, 30:] == 100).all()
    assert (drawn[:, :30] != 100).any()


def test_grid_puts_titled_images_beside_each_other():
    titled = with_title(GREY, 'ground truth', height=20)
    assert titled.shape == (60, 60, 3)
    assert grid([[titled, titled]] * 3, gap=4).shape == (3 * 64, 2 * 64, 3)
