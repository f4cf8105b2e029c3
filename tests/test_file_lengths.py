"""A file has one subject and seldom needs 300 lines; a longer one says why in its docstring."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'convnext_dense'
LONGEST = 300
LONG = [path for path in sorted(PACKAGE.rglob('*.py')) if '.mim' not in path.parts
        and len(path.read_text(encoding='utf-8').splitlines()) > LONGEST]


@pytest.mark.parametrize('path', LONG, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_longer_file_states_its_reason(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    assert f'Longer than {LONGEST} lines: ' in docstring


def test_convnext_is_one_file_that_a_reader_of_the_paper_recognises():
    text = (PACKAGE / 'models' / 'convnext.py').read_text(encoding='utf-8')
    assert len(text.splitlines()) <= 220


def test_the_model_knows_nothing_of_acceleration():
    assert not [path.name for path in (PACKAGE / 'models').rglob('*.py')
                if 'acceleration' in path.read_text(encoding='utf-8')]
