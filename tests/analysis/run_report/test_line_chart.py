"""Curves as SVG: scales, thinning, legends; names are escaped."""
import json
import re

import pytest

from convnext_dense.analysis.run_report.line_chart import (
    MOST_POINTS,
    Chart,
    draw,
    scale,
    short_number,
    thinned,
)


def test_a_curve_runs_from_the_left_below_to_the_right_above():
    svg = draw(Chart('Validation', dict(mIoU=[(0, 0.), (50, 20.), (100, 40.)])))
    points, = re.findall(r'<polyline points="([^"]+)"', svg)
    places = [tuple(map(float, place.split(','))) for place in points.split()]
    assert places == [(54, 186), (202, 97), (350, 8)]


def test_the_legend_names_each_curve_with_its_last_value():
    svg = draw(Chart('Loss', dict(loss=[(1, 3.), (2, 1.25)], other=[(1, 2.), (2, .5)])))
    assert re.findall(r'<span>(\w+)</span><b>([^<]+)</b>', svg) == [
        ('loss', '1.25'), ('other', '0.5')]


def test_more_curves_than_colours_differ_in_their_dashes():
    svg = draw(Chart('Loss', {str(index): [(1, 1.), (2, 2.)] for index in range(14)}))
    looks = re.findall(r'<li class="curve (c\d)">.*?<line ([^>]+)/>', svg)
    assert len(looks) == len(set(looks)) == 14


def test_a_long_curve_is_drawn_as_means_and_its_last_point():
    points = [(step, float(step % 2)) for step in range(1, 1002)]
    drawn = thinned(points)
    assert len(drawn) <= MOST_POINTS + 1 and drawn[-1] == points[-1]
    assert drawn[0] == (3, .6)  # of the first five
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]


def test_a_few_outliers_do_not_set_the_scale():
    top, ticks = scale([5000.] + [2.] * 99)
    assert ticks == [0., 1., 2., 3.] and top == 3.
    assert scale([5000., 2.])[0] >= 5000  # two points have no outlier
    assert scale([0., 0.])[0] > 0


def test_negative_values_lie_inside():
    top, ticks = scale([-1., 2.])
    assert ticks[0] <= -1 and top >= 2


def test_names_cannot_become_markup():
    svg = draw(Chart('<b>', {'</script><img src=x>': [(1, 2.), (3, 4.)]}, note='<i>'))
    assert '<b>' not in svg.replace('<b>4</b>', '') and '<img' not in svg and '<i>' not in svg
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', svg)[1])
    assert data == dict(first=1, last=3, curves=[[[1, 2.], [3, 4.]]])


def test_one_point_is_a_dot_and_no_point_is_no_chart():
    assert '<circle' in draw(Chart('Validation', dict(mIoU=[(10, 40.)])))
    assert draw(Chart('Validation', dict(mIoU=[]))) == ''


@pytest.mark.parametrize('value, text', [
    (.31234, '0.312'), (5e-5, '5e-05'), (160000, '160k'), (1234567, '1.23M'), (12.345, '12.35'),
    (0, '0'), (1250, '1250')])
def test_numbers_are_short(value, text):
    assert short_number(value) == text
