"""The command line answers quickly, and a mistake is one line."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import convnext_dense
from convnext_dense.cli import COMMANDS, command_parser, main
from convnext_dense.command_names import SCRIPTS, typed, typed_again
from convnext_dense.errors import InputError

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_answers_within_a_second(tool):
    before = os.times()
    result = subprocess.run([sys.executable, str(TOOLS / f'{tool}.py'), '--help'],
                            capture_output=True, text=True, check=True)
    after = os.times()  # processor time: another test may run beside this one
    assert sum(after[2:4]) - sum(before[2:4]) < 1
    for option in ('--work-dir', '--data-root', '--cfg-options', '--launcher', '--device'):
        assert option in result.stdout


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_has_a_parser_and_says_what_it_does(command):
    parser, module = command_parser(command, prog=command)
    assert module.__doc__ and callable(module.run)
    assert parser.format_help()


def test_openmmlab_arguments_are_taken():
    parser, _ = command_parser('train', 'train.py')
    args = parser.parse_args('config.py --work-dir w --resume --amp --auto-scale-lr --launcher '
                             'slurm --cfg-options a.b=1 c=[1,2]'.split())
    assert args.resume == 'auto' and args.amp and args.auto_scale_lr
    assert args.launcher == 'slurm' and args.cfg_options == ['a.b=1', 'c=[1,2]']
    parser, _ = command_parser('test', 'test.py')
    args = parser.parse_args('config.py weights.pth --show --show-dir d --out o.pkl --tta'.split())
    assert args.show and args.show_dir == 'd' and args.out == 'o.pkl' and args.tta


@pytest.mark.parametrize('command', COMMANDS)
def test_help_has_two_examples_that_parse(command):
    parser, module = command_parser(command, prog=command)
    examples = [line for line in module.__doc__.splitlines()
                if line.strip().startswith(f'convnext-dense {command}')]
    assert len(examples) >= 2
    for example in examples:
        parser.parse_args(shlex.split(example)[2:])


def run(*arguments, module='convnext_dense', **settings):
    return subprocess.run([sys.executable, '-m', module, *arguments], capture_output=True,
                          text=True, env={**os.environ, **settings})


def test_the_list_of_commands_answers_within_half_a_second():
    before = os.times()
    assert run('--help').returncode == 0
    after = os.times()  # processor time: another test may run beside this one
    assert sum(after[2:4]) - sum(before[2:4]) < .5


def test_the_version_is_that_of_the_package():
    assert run('--version').stdout == f'convnext-dense {convnext_dense.__version__}\n'


def test_an_unknown_command_or_option_suggests_the_nearest(capsys):
    assert main(['trian']) == 2
    assert "no command 'trian'; nearest: train" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(['train', 'config.py', '--work-dri', 'x'])
    assert stop.value.code == 2
    assert 'no argument --work-dri; nearest: --work-dir' in capsys.readouterr().err


@pytest.fixture
def broken(monkeypatch):
    """A command that fails in a way that nobody foresaw."""
    from convnext_dense.commands import inspect_checkpoint
    monkeypatch.setattr(inspect_checkpoint, 'run', lambda args: 1 / 0)


def test_an_unforeseen_error_is_one_line_that_says_where_its_traceback_is(broken, capsys):
    assert main(['inspect-checkpoint', 'x.pth']) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ZeroDivisionError: division by zero (test_cli.py:')
    assert error.count('\n') == 1 and '--debug' in error
    traceback = Path(re.search(r'the traceback is in (\S+),', error)[1])
    assert 'Traceback' in traceback.read_text()
    traceback.unlink()


def test_debug_lets_errors_through(broken):
    with pytest.raises(ZeroDivisionError):
        main(['inspect-checkpoint', 'x.pth', '--debug'])
    with pytest.raises(InputError):
        main(['train', 'no_such_config.py', '--debug'])


@pytest.mark.parametrize('line, expected', [
    ('convnext-dense inspect-', {'inspect-checkpoint'}),
    ('convnext-dense test --show-', {'--show-dir'}),
    ('convnext-dense prepare-data ', {'coco', 'ade20k'})])
def test_the_shell_completes_commands_options_and_choices(line, expected, tmp_path):
    """As argcomplete's function of the shell asks."""
    answer = tmp_path / 'answer'
    run('', _ARGCOMPLETE='1', COMP_LINE=line, COMP_POINT=str(len(line)), _ARGCOMPLETE_IFS='\n',
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer))
    assert expected <= {word.strip() for word in answer.read_text().split('\n')}


def test_messages_name_the_command_as_it_was_typed(monkeypatch):
    assert typed('check-data') == 'convnext-dense check-data'
    monkeypatch.setattr(sys, 'argv', [str(TOOLS / 'train.py')])
    assert typed('check-data') == 'tools/data/check.py'
    assert typed('demo') == 'convnext-dense demo'  # no script has it
    assert all((TOOLS.parent / script).is_file() for script in SCRIPTS.values())
    assert set(SCRIPTS) <= set(COMMANDS)


@pytest.mark.parametrize('argv, again', [
    (['/usr/bin/convnext-dense', 'train', 'my config.py'],
     "convnext-dense train 'my config.py' --resume"),
    ([str(Path(convnext_dense.__file__).parent / '__main__.py'), 'train', '--resume'],
     'python -m convnext_dense train --resume'),
    ([str(TOOLS / 'train.py'), 'mine.py'], f'python {TOOLS / "train.py"} mine.py --resume'),
    (['pytest', 'train'], 'this command with --resume')])
def test_the_line_that_goes_on_is_the_one_that_was_typed(argv, again, monkeypatch):
    monkeypatch.setattr(sys, 'argv', argv)
    assert typed_again('--resume') == again


def test_a_process_of_torchrun_does_not_know_the_line_that_was_typed(monkeypatch):
    """Its own line, ``... --launcher pytorch``, goes on below torchrun only."""
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/convnext-dense', 'train', '--launcher', 'pytorch'])
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    assert typed_again('--resume') == 'this command with --resume'


def test_without_a_command_the_commands_are_listed(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)
    assert main(['no-such-command']) == 2


def test_bad_input_is_one_line_and_exit_status_2(capsys):
    assert main(['train', 'no_such_config.py']) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: config no_such_config.py: no such file')
    assert error.count('\n') == 1
