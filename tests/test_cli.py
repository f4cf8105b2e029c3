"""The command line answers quickly, and a mistake is one line."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convnext_dense.cli import COMMANDS, command_parser, main

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
