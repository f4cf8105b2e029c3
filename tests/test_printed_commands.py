"""The commands that README and docs print are taken by the real parsers, word for word."""
import argparse
import re
import runpy
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from printed_commands import CLONE, FILES, PARSED, WALKS, expand, printed, shell_blocks, walk

from convnext_dense.cli import COMMANDS, command_parser
from convnext_dense.command_names import SCRIPTS
from convnext_dense.commands.options import parse_overrides
from convnext_dense.config import load_config

TARGETS = set(re.findall(r'^([\w-]+):', (CLONE / 'Makefile').read_text(), re.M))


@pytest.mark.parametrize('command', printed(), ids=lambda one: f'{one.file}-{one.text[:70]}')
def test_a_printed_command_is_taken(command, monkeypatch):
    monkeypatch.chdir(CLONE)
    program, *words = command.words
    if program == 'make':
        assert words[0] in TARGETS
    elif program == 'pip':
        extras = ConfigParser()
        extras.read('setup.cfg')
        assert re.fullmatch(r'convnext_dense\[(\w+)\]', words[1])[1] in extras[
            'options.extras_require']
    elif program == 'git':
        assert words[0] == 'worktree'
    elif program == 'pre-commit':
        assert words == ['install'] and Path('.pre-commit-config.yaml').exists()
    elif program == 'convnext-dense':
        assert words[0] in COMMANDS
        parse(words[0], words[1:])
    else:
        python(command.text, words, monkeypatch)


def python(text, words, monkeypatch):
    """Python with these arguments, as far as its programs look at theirs."""
    if words[0] == '-c':
        compile(words[1], text, 'exec')
    elif words[:2] == ['-m', 'torch.distributed.run']:
        first = next(number for number, word in enumerate(words) if word.endswith('.py'))
        python(text, ['/'.join(words[first].split('/')[-2:]), *words[first + 1:]], monkeypatch)
    elif words[:2] == ['-m', 'pytest']:
        paths = [word for word in words if word.startswith('tests/')]
        assert paths and all(Path(path).exists() for path in paths)
    elif words[0] in SCRIPTS.values():
        parse(next(name for name, script in SCRIPTS.items() if script == words[0]), words[1:])
    else:
        parse_program(words, monkeypatch)


def parse(command, words):
    """A command of the toolkit: its options, and where it names a config of the clone, the keys
    that it changes there."""
    args = command_parser(command, None)[0].parse_args(words)
    for path in (word for word in words if word.startswith('configs/')):
        assert load_config(path, parse_overrides(getattr(args, 'cfg_options', [])))


class Parsed(BaseException):
    """In the place of what a program does with its arguments."""


def parse_program(words, monkeypatch):
    """A program of the clone with a parser of its own, up to where it has parsed."""
    def parse_args(self, args=None, namespace=None):
        parse_known(self, args, namespace)
        raise Parsed

    parse_known = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    monkeypatch.setattr(sys, 'argv', words[1:] if words[0] == '-m' else words)
    monkeypatch.syspath_prepend(CLONE)
    monkeypatch.syspath_prepend('tests/runtime')  # what docs/robustness.md exports
    with pytest.raises(Parsed):
        if words[0] == '-m':
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            runpy.run_path(words[0], run_name='__main__')


def test_every_command_is_run_or_has_a_reason_why_not():
    patterns = [*WALKS.values(), *PARSED]
    for command in printed():
        assert sum(bool(re.match(pattern, command.text)) for pattern in patterns) == 1, command
    for pattern in patterns:
        assert any(re.match(pattern, command.text) for command in printed()), pattern
    tests = ''.join(path.read_text() for path in (CLONE / 'tests').rglob('test_printed_*.py'))
    assert all(walk(name) and f"walk('{name}')" in tests for name in WALKS)


#: options of other programs that the docs name: torchrun's, SLURM's and git's
OTHERS = {'--max-restarts', '--signal', '--detach'}


def test_every_option_that_is_named_anywhere_is_one_of_a_program_of_the_clone():
    programs = ''.join(path.read_text() for folder in ('convnext_dense', 'benchmarks', 'tools',
                                                       'tests/runtime')
                       for path in (CLONE / folder).rglob('*.py'))
    known = set(re.findall(r"'(--[\w-]+)'", programs)) | OTHERS
    for file in FILES:
        named = set(re.findall(r'(?<![\w-])--[a-z][\w-]+', (CLONE / file).read_text()))
        assert named <= known, f'{file}: {named - known}'


def inline():
    """Command and words of what stands in a line of text, such as `convnext-dense train --amp`."""
    for file in FILES:
        text = re.sub(r'^```.*?^```', '', (CLONE / file).read_text(), flags=re.M | re.S)
        for span in re.findall(r'`([^`\n]+)`', text):
            words = span.removeprefix('.venv/bin/python ').removeprefix('python ').split()
            if words[0] == 'convnext-dense' and len(words) > 1:
                yield pytest.param(words[1], words[2:], id=f'{file}-{span[:60]}')
            elif words[0] in SCRIPTS.values():
                command = next(name for name, script in SCRIPTS.items() if script == words[0])
                yield pytest.param(command, words[1:], id=f'{file}-{span[:60]}')


@pytest.mark.parametrize('command, words', inline())
def test_a_command_in_a_line_of_text_has_the_options_that_it_names(command, words):
    if command in ('COMMAND', '--version', '--help'):
        return
    assert command in COMMANDS
    known = command_parser(command, None)[0]._option_string_actions
    assert {word for word in words if word.startswith('--')} <= set(known)
    for word in words:
        if word.startswith('configs/') and '*' not in word:
            assert (CLONE / word).exists()


def test_blocks_are_expanded_as_bash_does_it():
    assert expand('for seed in 0 1; do\n  python \\\n    a.py --seed=$seed "x  y" # why\ndone') == [
        ('python', 'a.py', '--seed=0', 'x  y'), ('python', 'a.py', '--seed=1', 'x  y')]
    assert expand("A=1 .venv/bin/python b.py 'c*' | convnext-dense predict -")[::1] in (
        [('python', 'b.py', 'c*'), ('convnext-dense', 'predict', '-')],
        [('convnext-dense', 'predict', '-'), ('python', 'b.py', 'c*')])


def test_no_block_with_a_command_is_passed_over():
    """Blocks of other languages, of output and of files apart, all are shell blocks."""
    for file in FILES:
        inside, lines = False, []
        for line in (CLONE / file).read_text().splitlines():
            if line.startswith('```'):
                inside = line == '```' and not inside
            elif inside and re.match(
                    r'(\$ )?(\.venv/bin/)?(convnext-dense|python3?|make|bash|git) ', line):
                lines.append(line)
        found = '\n'.join(shell_blocks(file))
        for line in lines:
            words = line.removeprefix('$ ').split()[:2]
            assert all(word in found for word in words), f'{file}: {line}'
