"""The samples for schedulers: what they start is what the toolkit takes."""
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet
from pydantic import ValidationError
from torch.distributed.run import get_args_parser

from convnext_dense.cli import command_parser
from convnext_dense.commands.launching import SIGNALS
from convnext_dense.config_files import find_config

SAMPLES = Path(__file__).resolve().parents[2] / 'docs' / 'cluster'
#: options of sbatch's manual that the script uses, and what their values look like
SBATCH = {'job-name': r'[\w-]+', 'nodes': r'\d+', 'ntasks-per-node': r'\d+',
          'gpus-per-node': r'(\w+:)?\d+', 'cpus-per-task': r'\d+',
          'time': r'(\d+-)?\d+:\d\d:\d\d', 'signal': r'(B:)?[A-Z1-9]+@\d+', 'requeue': None,
          'open-mode': 'append|truncate'}


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


def test_the_script_s_settings_are_sbatch_s_and_stand_before_its_first_command():
    lines = (SAMPLES / 'train.sbatch').read_text().splitlines()
    assert lines[0] == '#!/bin/bash'
    first = next(number for number, line in enumerate(lines) if line and line[0] != '#')
    for number, line in enumerate(lines):
        if not line.startswith('#SBATCH'):
            continue
        assert number < first  # sbatch reads no further
        option, equals, value = re.fullmatch(r'#SBATCH --([\w-]+)(=?)(\S*)', line).groups()
        pattern = SBATCH[option]
        assert bool(equals) == (pattern is not None)
        assert re.fullmatch(pattern or '', value), line


def job_set():
    return yaml.safe_load((SAMPLES / 'jobset.yaml').read_text())


def unknown(sample, read, path=''):
    """Paths of a sample that its schema passed over or changed."""
    if isinstance(sample, dict) and isinstance(read, dict):
        return [found for key in sample for found in unknown(
            sample[key], read.get(key), f'{path}.{key}')]
    if isinstance(sample, list) and isinstance(read, list) and len(sample) == len(read):
        return [found for number, pair in enumerate(zip(sample, read))
                for found in unknown(*pair, f'{path}[{number}]')]
    return [path] * (sample != read)


def test_the_job_set_is_one_by_its_published_schema():
    assert unknown(job_set(), JobsetV1alpha2JobSet.from_dict(job_set()).to_dict()) == []


@pytest.mark.parametrize('change', [
    lambda job: job.update(replicas='one'), lambda job: job.pop('template'),
    lambda job: job['template']['spec'].update(completions='4'),
    lambda job: job['template']['spec'].update(parallel=4),
    lambda job: job['template']['spec']['template']['spec']['containers'][0].update(command='x'),
    lambda job: job['template']['spec']['template']['spec'].update(volume=[])])
def test_the_schema_finds_what_is_none_of_its_fields(change):
    wrong = job_set()
    change(wrong['spec']['replicatedJobs'][0])
    try:
        read = JobsetV1alpha2JobSet.from_dict(wrong).to_dict()
    except ValidationError:
        return
    assert unknown(wrong, read)


def test_the_pods_of_the_job_set_meet():
    sample = job_set()
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
