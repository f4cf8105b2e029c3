"""The colours stay apart under every kind of colour blindness, and from the paper."""
import itertools

import numpy as np
import pytest

from convnext_dense.analysis.palette import (
    COLOURS,
    DARK_COLOURS,
    DARK_PAPER,
    PAPER,
    SYMBOLS,
    dark_of,
    style,
    translucent,
)

colorspacious = pytest.importorskip('colorspacious', reason='colorspacious is not installed '
                                                            '(extra: test)')
SIGHTS = ('normal', 'deuteranomaly', 'protanomaly', 'tritanomaly')
FAR_APART = 20  # in CAM02-UCS, where 1 can just be seen


def seen(colour, sight):
    """sRGB in [0, 1] that this sight gets of ``#RRGGBB`` (Machado et al. 2009, complete loss)."""
    rgb = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255
    if sight == 'normal':
        return rgb
    space = dict(name='sRGB1+CVD', cvd_type=sight, severity=100)
    return np.clip(colorspacious.cspace_convert(rgb, space, 'sRGB1'), 0, 1)


def distance(first, second, sight):
    return colorspacious.deltaE(seen(first, sight), seen(second, sight), input_space='sRGB1')


PAGES = [(COLOURS, PAPER), (DARK_COLOURS, DARK_PAPER)]


@pytest.mark.parametrize('sight', SIGHTS)
@pytest.mark.parametrize('colours, paper', PAGES, ids=['light', 'dark'])
def test_any_two_colours_differ_for(sight, colours, paper):
    for first, second in itertools.combinations([*colours, paper], 2):
        assert distance(first, second, sight) > FAR_APART, (first, second)


def test_the_check_finds_red_and_green_that_deuteranopes_confuse():
    assert distance('#C03028', '#5E7A00', 'normal') > FAR_APART
    assert distance('#C03028', '#5E7A00', 'deuteranomaly') < FAR_APART


def luminance(colour):
    rgb = seen(colour, 'normal')
    return np.where(rgb <= .04045, rgb / 12.92, ((rgb + .055) / 1.055)**2.4) @ [
        .2126, .7152, .0722]


@pytest.mark.parametrize('colour, paper', [
    (colour, paper) for colours, paper in PAGES for colour in colours])
def test_colours_contrast_with_the_paper(colour, paper):
    dark, light = sorted([luminance(colour), luminance(paper)])
    assert (light + .05) / (dark + .05) >= 3


def test_models_beyond_the_colours_get_other_symbols():
    looks = {(style(i)['colour'], style(i)['symbol'], style(i)['dash']) for i in range(36)}
    assert len(looks) == 36 and len(SYMBOLS) == len(COLOURS)


def test_translucent_colours():
    assert translucent('#0A14FF', .5) == 'rgba(10,20,255,0.5)'


def test_each_colour_of_a_light_page_has_one_of_its_own_on_a_dark_one():
    dark = dark_of()
    assert dark['#0069B4'] == DARK_COLOURS[0] and dark[PAPER] == DARK_PAPER
    assert dark['rgba(0,105,180'] == 'rgba(48,192,224'
    assert len(set(dark.values())) == len(dark)
    assert not set(dark) & set(dark.values()), 'one would be replaced twice'
