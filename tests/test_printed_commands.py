"""The commands that README and docs print are taken by the real parsers, word for word."""
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from convnext_dense.cli import COMMANDS, command_parser
from convnext_dense.command_names import SCRIPTS

CLONE = Path(__file__).resolve().parents[1]
PROGRAMS = {'convnext-dense', 'python', 'python3', 'make', 'bash'}
TARGETS = set(re.findall(r'^([\w-]+):', (CLONE / 'Makefile').read_text(), re.M))


def printed():
    """(file, command) of every line of a block that runs something."""
    for path in [CLONE / 'README.md', CLONE / 'CONTRIBUTING.md', *sorted(CLONE.glob('docs/*.md'))]:
        for block in re.findall(r'^```\n(.*?)^```', path.read_text(), re.M | re.S):
            for line in block.replace('\\\n', ' ').splitlines():
                words = line.removeprefix('$ ').split('  #')[0].split()
                while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
                    words.pop(0)
                if words and Path(words[0]).name in PROGRAMS and not line.startswith(' '):
                    yield pytest.param(' '.join(words), id=f'{path.name}-{" ".join(words)[:70]}')


@pytest.mark.parametrize('command', printed())
def test_a_printed_command_is_taken(command):
    program, *words = [word for word in shlex.split(command) if word != '...']
    program = Path(program).name
    if program == 'make':
        assert words[0] in TARGETS
    elif program == 'bash':
        assert (CLONE / words[0]).exists()
    elif program == 'convnext-dense':
        assert words[0] in COMMANDS
        command_parser(words[0], None)[0].parse_args(words[1:])
    elif words[0] == '-m':
        assert find_spec(words[1])
    elif words[0] == '-c':
        compile(words[1], command, 'exec')
    else:
        assert (CLONE / words[0]).exists()
        names = {script: name for name, script in SCRIPTS.items()}
        if words[0] in names:
            command_parser(names[words[0]], None)[0].parse_args(words[1:])
    for word in words:
        if word.startswith('configs/'):
            assert (CLONE / word).exists(), word


def test_the_commands_are_found():
    assert len(list(printed())) > 30
