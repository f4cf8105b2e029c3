"""The documentation site: pages are linked, quoted messages are the code's, names are listed."""
import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
HOLE = '{}'  # what a message's values are in the page


def texts():
    """The strings of the package; what is filled in is ``{}``, as in the page."""
    for path in (ROOT / 'convnext_dense').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield ''.join(part.value if isinstance(part, ast.Constant) else HOLE
                              for part in node.values)


def quoted():
    return re.findall(r'^\| `([^`]+)` \|', (DOCS / 'troubleshooting.md').read_text(), re.M)


def test_messages_of_the_troubleshooting_page_are_those_of_the_code():
    known = list(texts())
    assert len(quoted()) > 20
    assert not [message for message in quoted() if not any(message in text for text in known)]


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / 'index.md').read_text()
    listed = set(re.findall(r'^[\w-]+(?:/index)?$', index, re.M))
    pages = {path.stem for path in DOCS.glob('*.md')} - {'index'}
    assert pages <= listed


def test_every_public_name_is_in_the_reference():
    sys.path.insert(0, str(DOCS))
    conf = importlib.import_module('conf')
    rooms = {path.parent.name for path in (ROOT / 'convnext_dense').glob('*/__init__.py')
             if 'lazy_loader' in path.read_text()}
    assert {f'convnext_dense.{room}' for room in rooms} <= set(conf.ROOMS)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    """Dead links, names and files included; about 20 s."""
    import subprocess
    pytest.importorskip('sphinx', reason='the extra docs')
    done = subprocess.run([sys.executable, '-m', 'sphinx', '-W', '-q', '-E', '-b', 'html',
                           str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]
