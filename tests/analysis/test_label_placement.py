"""Names of points keep clear of each other, of the bubbles and of the frame."""
from convnext_dense.analysis.label_placement import place_labels

RANGES = (0, 10), (0, 10)


def test_a_lone_name_stands_above_its_point():
    assert place_labels([(5, 5)], ['swin'], [40], *RANGES) == ['top center']


def test_names_of_points_on_one_spot_go_apart():
    positions = place_labels([(5, 5)] * 4, ['swin'] * 4, [40] * 4, *RANGES)
    assert set(positions) == {'top center', 'bottom center', 'middle right', 'middle left'}


def test_a_name_avoids_the_bubble_of_another_point():
    assert place_labels([(5, 5), (5, 6.5)], ['low', 'high'], [40, 40], *RANGES) == [
        'bottom center', 'top center']


def test_a_name_stays_inside_the_axes():
    assert place_labels([(5, 10), (10, 5)], ['top', 'right'], [40, 40], *RANGES) == [
        'bottom center', 'middle left']


def test_a_name_that_a_phone_would_cut_off_goes_elsewhere():
    """On a desktop there are 150 pixels beside the point, on a phone 63; the name has 129."""
    points = [(7.6, 5), (7.6, 6.5), (7.6, 3.5)]
    positions = place_labels(points, ['ConvNeXt-V2-Base', 'a', 'b'], [40] * 3, *RANGES)
    assert positions[0] == 'middle left'
