"""Numbers with their nouns."""
import pytest

from convnext_dense.wording import counted


@pytest.mark.parametrize('number, text', [(0, '0 images'), (1, '1 image'), (2, '2 images')])
def test_one_is_named_in_the_singular(number, text):
    assert counted(number, 'image') == text


@pytest.mark.parametrize('number, text', [(1, '1 class'), (3, '3 classes')])
def test_a_plural_of_its_own(number, text):
    assert counted(number, 'class', 'classes') == text
