"""JSON from files: lists nested a hundred thousand deep are an error of their own in Python."""
import ast
import json
from pathlib import Path

import pytest

import convnext_dense
from convnext_dense.analysis.comparison import read_benchmark
from convnext_dense.datasets.panoptic_file import read_panoptic
from convnext_dense.errors import InputError

PACKAGE = Path(convnext_dense.__file__).parent
DEEP = '{"models": ' + '[' * 100_000


def guarded_reads(path):
    """For each ``try`` that reads JSON: its line, and what its handlers catch."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        calls = [ast.unparse(call.func) for statement in (
            node.body if isinstance(node, ast.Try) else ()) for call in ast.walk(statement)
            if isinstance(call, ast.Call)]
        if {'json.loads', 'json.load', 'msgspec.json.decode'} & set(calls):
            yield node.lineno, ' '.join(ast.unparse(handler.type) for handler in node.handlers
                                        if handler.type)


@pytest.mark.parametrize('path', [
    path for path in sorted(PACKAGE.rglob('*.py')) if list(guarded_reads(path))],
    ids=lambda path: str(path.relative_to(PACKAGE)))
def test_whoever_catches_malformed_json_catches_deep_json(path):
    for line, caught in guarded_reads(path):
        malformed = 'ValueError' in caught or 'DecodeError' in caught
        assert not malformed or 'RecursionError' in caught or 'Exception' in caught, (line, caught)


@pytest.mark.parametrize('read', [read_benchmark, read_panoptic])
def test_deep_json_is_one_line(read, tmp_path):
    with pytest.raises(RecursionError):
        json.loads(DEEP)
    path = tmp_path / 'deep.json'
    path.write_text(DEEP)
    with pytest.raises(InputError, match=str(path)) as caught:
        read(path)
    assert '\n' not in str(caught.value)
