"""The samples for schedulers: what they start is what the toolkit takes."""
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from convnext_dense.cli import command_parser
from convnext_dense.commands.launching import SIGNALS
from convnext_dense.config_files import find_config

SAMPLES = Path(__file__).resolve().parents[2] / 'docs' / 'cluster'


@pytest.fixture
def submit(tmp_path):
    """Run the batch script with programs in SLURM's place that write down how they were called."""
    for name, status in dict(srun='"$STATUS"', scontrol='0').items():
        (tmp_path / name).write_text(
            f'#!/bin/sh\nprintf "%s " {name} "$@" >> {tmp_path}/called\nexit {status}\n')
        (tmp_path / name).chmod(0o755)

    def run(status):
        ended = subprocess.run(
            ['bash', SAMPLES / 'train.sbatch', 'mine.py', '--work-dir', 'run'], env=dict(
                os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', STATUS=str(status),
                SLURM_JOB_ID='7'))
        return ended.returncode, (tmp_path / 'called').read_text()
    return run


@pytest.mark.parametrize('status, again', [(0, False), (138, True), (143, True), (2, False)])
def test_a_job_queues_again_after_a_signal_alone(submit, status, again):
    returned, called = submit(status)
    assert returned == status
    assert ('scontrol requeue 7' in called) == again
    words = called.partition(' scontrol')[0].split()
    assert words[:4] == ['srun', '--kill-on-bad-exit=1', 'convnext-dense', 'train']
    args = command_parser('train', None)[0].parse_args(words[4:])
    assert (args.config, args.work_dir, args.launcher, args.resume) == (
        'mine.py', 'run', 'slurm', 'auto')


def test_the_time_that_is_left_is_enough_to_save():
    settings = [line.split('=', 1) for line in (SAMPLES / 'train.sbatch').read_text().splitlines()
                if line.startswith('#SBATCH')]
    assert ['#SBATCH --signal', 'USR1@300'] in settings and ['#SBATCH --requeue'] in settings
    tasks, gpus = (next(value for key, value in settings[:-2] if key == f'#SBATCH --{name}')
                   for name in ('ntasks-per-node', 'gpus-per-node'))
    assert tasks == gpus


def test_the_pods_of_the_job_set_meet():
    sample = yaml.safe_load((SAMPLES / 'jobset.yaml').read_text())
    name, (job, ) = sample['metadata']['name'], sample['spec']['replicatedJobs']
    spec = job['template']['spec']
    pod, (container, ) = spec['template']['spec'], spec['template']['spec']['containers']
    program, *words = container['command']
    assert '--node-rank=$(NODE)' in words and container['env'][0]['name'] == 'NODE'
    args = get_args_parser().parse_args([word.replace('$(NODE)', '3') for word in words])
    assert program == 'torchrun' and args.module and args.training_script == 'convnext_dense'
    assert spec['completionMode'] == 'Indexed'
    assert int(args.nnodes) == spec['completions'] == spec['parallelism']
    assert args.nproc_per_node == container['resources']['limits']['nvidia.com/gpu']
    # <job set>-<job>-<index of the job>-<index of the pod>.<job set>
    assert args.master_addr == f'{name}-{job["name"]}-0-0.{name}'
    assert args.master_port in [port['containerPort'] for port in container['ports']]
    assert args.signals_to_handle == SIGNALS
    assert {mount['name'] for mount in container['volumeMounts']} == {
        volume['name'] for volume in pod['volumes']}
    command, *options = args.training_script_args
    train = command_parser(command, None)[0].parse_args(options)
    assert find_config(train.config) and train.launcher == 'pytorch' and train.resume == 'auto'
