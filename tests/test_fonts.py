"""The font of a name is one that has its letters."""
import pytest
from matplotlib import font_manager

from convnext_dense.fonts import font_of

INSTALLED = [entry for entry in font_manager.fontManager.ttflist
             if not entry.name.startswith('Last Resort')]


def letters(path):
    return font_manager.get_font(path).get_charmap().keys()


@pytest.mark.parametrize('text', ['', 'traffic light', 'Größe', 'кошка', 'tab\tname', '\U0010ffff'])
def test_dejavu_is_taken_where_no_other_font_has_more(text):
    assert font_of(text).family == 'DejaVu Sans'


def test_an_installed_font_is_taken_for_letters_that_dejavu_lacks():
    usual = letters(font_of('').path)
    letter = next(code for entry in INSTALLED for code in letters(entry.fname)
                  if code not in usual and chr(code).isprintable())
    font = font_of('a' + chr(letter))
    assert letter in letters(font.path) and ord('a') in letters(font.path)
    assert font.family in {entry.name for entry in INSTALLED}


def test_a_font_that_was_removed_is_passed_over(monkeypatch, tmp_path):
    gone = font_manager.FontEntry(fname=str(tmp_path / 'gone.ttf'), name='Gone')
    monkeypatch.setattr(font_manager.fontManager, 'ttflist', [gone])
    assert font_of('a letter of no font: \U0010fffe').family == 'DejaVu Sans'
