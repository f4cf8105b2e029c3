"""The shell scripts that start several processes: what they run, with the launchers replaced."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def launch(tmp_path):
    """Run a script; both python and srun only print how they were called."""
    for name in ('python', 'srun'):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@"\n')
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, **settings):
        settings = {'NNODES': '1', 'PORT': '', **settings}
        env = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', **settings)
        return subprocess.run(['bash', str(TOOLS / script), *arguments], env=env, check=True,
                              capture_output=True, text=True).stdout.splitlines()
    return run


def test_dist_train_starts_the_processes_of_one_machine_with_the_given_python(launch, tmp_path):
    words = launch('dist_train.sh', 'config.py', '2', '--resume', PYTHON=str(tmp_path / 'python'))
    assert words[:3] == ['python', '-m', 'torch.distributed.run']
    assert '--nproc_per_node=2' in words and '--standalone' in words  # torchrun finds a free port
    assert words[-5:] == [str(TOOLS / 'train.py'), 'config.py', '--launcher', 'pytorch', '--resume']


def test_a_given_port_is_taken(launch, tmp_path):
    words = launch('dist_train.sh', 'config.py', '2', PORT='29777', PYTHON=str(tmp_path / 'python'))
    assert '--master_port=29777' in words and '--standalone' not in words


@pytest.mark.parametrize('script, few', [('dist_train', 1), ('dist_test', 2), ('slurm_train', 2),
                                         ('slurm_test', 3)])
def test_too_few_arguments_are_answered_with_the_usage(script, few):
    result = subprocess.run(['bash', str(TOOLS / f'{script}.sh'), *['x'] * few],
                            capture_output=True, text=True)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith('usage: ') and 'CONFIG' in result.stderr


def test_dist_test_takes_several_machines(launch, tmp_path):
    words = launch('dist_test.sh', 'config.py', 'epoch_1.pth', '4', '--tta', NNODES='2',
                   NODE_RANK='1', MASTER_ADDR='10.0.0.1', PYTHON=str(tmp_path / 'python'))
    assert {'--nnodes=2', '--node_rank=1', '--master_addr=10.0.0.1', '--nproc_per_node=4'} <= \
        set(words)
    assert words[-6:] == [str(TOOLS / 'test.py'), 'config.py', 'epoch_1.pth', '--launcher',
                          'pytorch', '--tta']


@pytest.mark.parametrize('script, arguments', [('train', ['config.py']),
                                               ('test', ['config.py', 'epoch_1.pth'])])
def test_slurm_gives_each_task_a_gpu(launch, script, arguments):
    words = launch(f'slurm_{script}.sh', 'gpu', 'job', *arguments, '--amp', GPUS='16',
                   PYTHON='python')
    assert words[:3] == ['srun', '--partition=gpu', '--job-name=job']
    assert {'--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8'} <= set(words)
    assert words[-len(arguments) - 6:] == ['python', '-u', str(TOOLS / f'{script}.py'), *arguments,
                                           '--launcher', 'slurm', '--amp']


@pytest.mark.parametrize('is_set_up', [True, False])
def test_without_a_setting_the_python_of_the_set_up_is_taken(launch, tmp_path, is_set_up):
    tools = tmp_path / 'clone' / 'tools'
    for name in ('slurm_train.sh', 'setup/python.sh'):
        (tools / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOOLS / name, tools / name)
    own = tmp_path / 'clone' / '.venv' / 'bin' / 'python'
    if is_set_up:
        own.parent.mkdir(parents=True)
        shutil.copy(tmp_path / 'python', own)
    words = launch(tools / 'slurm_train.sh', 'gpu', 'job', 'config.py')
    chosen = words[words.index('-u') - 1]
    assert os.path.realpath(chosen) == str(own) if is_set_up else chosen == 'python'
