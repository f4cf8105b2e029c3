"""Processes that cannot work together end in one line, each of them."""
import multiprocessing
import os
import socket
import time
from datetime import timedelta

import pytest
from mmengine.config import Config
from tiny import toy_config
from torch.distributed.elastic.utils.distributed import get_free_port

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner, processes


@pytest.mark.parametrize('launcher', ['slurm', 'mpi'])
def test_launchers_of_nccl_need_gpus(launcher):
    processes.check_launcher(launcher, cuda=True)
    processes.check_launcher('pytorch', cuda=False)
    with pytest.raises(InputError, match=f'--launcher {launcher} gives each process a GPU'):
        processes.check_launcher(launcher, cuda=False)


def test_a_first_process_that_is_not_there_is_named():
    port = get_free_port()
    environment = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK='3')
    begin = time.monotonic()
    with pytest.raises(InputError, match=f'process 3 on .* cannot reach the first one at '
                                         f'127.0.0.1:{port}.*MASTER_ADDR'):
        processes.wait_for_first(environment, seconds=1)
    assert time.monotonic() - begin < 30
    processes.wait_for_first(dict(environment, RANK='0'), seconds=0)  # the place itself


def test_a_machine_that_no_one_knows_is_named():
    with pytest.raises(InputError, match='cannot reach the first one at gone.invalid:29500'):
        processes.wait_for_first(dict(MASTER_ADDR='gone.invalid', MASTER_PORT='29500', RANK='1'),
                                 seconds=0)


def test_one_that_listens_is_found():
    with socket.create_server(('127.0.0.1', 0)) as server:
        processes.wait_for_first(dict(MASTER_ADDR='127.0.0.1', RANK='1',
                                      MASTER_PORT=str(server.getsockname()[1])), seconds=0)


def hashes(**changes):
    return processes.config_hashes(toy_config('work', **changes))


def test_paths_of_a_machine_are_no_difference():
    assert hashes() == hashes(load_from='a.pth', launcher='slurm', resume=True)
    one, other = (Config(dict(
        data=None, work_dir=root, train_dataloader=dict(dataset=dict(data_root=root)),
        val_evaluator=dict(ann_file=f'{root}/val.json'))) for root in ('data/a', '/mnt/b'))
    assert processes.config_hashes(one) == processes.config_hashes(other)


def test_functions_of_pure_python_configs_are_no_difference():
    one, other = (dict(model=dict(type=type('Model', (), {}), make=lambda: 0)) for _ in range(2))
    assert processes.config_hashes(one) == processes.config_hashes(other)


def test_the_time_in_an_experiment_s_name_is_no_difference():
    assert hashes(experiment_name='run_1') == hashes(experiment_name='run_2')


def test_the_differing_key_and_process_are_named():
    other = hashes(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)))
    found = [('a', hashes()), ('a', hashes()), ('b', other), ('b', hashes())]
    with pytest.raises(InputError, match='process 2 on b differs from that of process 0 on a in '
                                         'optim_wrapper;'):
        processes.raise_difference(found)
    processes.raise_difference(found[:2])


@pytest.mark.parametrize('steps, together, words', [
    ([3, 0, 3], True, 'gives process 1 0 batches and process 0 3'),
    ([3, 4], True, 'gives process 0 3 batches and process 1 4'),
    ([3, 3], True, None), ([3, 0], False, None), ([3, None], True, None)])
def test_uneven_shares_are_refused_where_every_step_is_one_of_all(steps, together, words):
    if words is None:
        processes.raise_uneven('train_dataloader', steps, together)
        return
    with pytest.raises(InputError, match=f'^train_dataloader {words}'):
        processes.raise_uneven('train_dataloader', steps, together)


def test_the_waiting_time_is_a_number_of_seconds():
    assert processes.waiting_time({}) is None
    assert processes.waiting_time(dict(dist_cfg=dict(timeout=90))) == timedelta(seconds=90)
    for wrong in ('1h', 0, -1, True):
        with pytest.raises(InputError, match=r'^env_cfg.dist_cfg.timeout=.*a number of seconds'):
            processes.waiting_time(dict(dist_cfg=dict(timeout=wrong)))


def wait_alone(folder, port, timeout):
    """The first of two processes, the other of which never comes."""
    os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(port))
    config = toy_config(folder, launcher='pytorch')
    config.env_cfg.dist_cfg.timeout = timeout
    try:
        Runner.from_cfg(config)
    except InputError as error:
        (folder / 'error.txt').write_text(str(error))


@pytest.mark.parametrize('minute, timeout', [(60, 2), (2, None), (2, 1000)])
def test_the_first_process_does_not_wait_for_the_others_for_ever(
        tmp_path, monkeypatch, minute, timeout):
    monkeypatch.setattr(processes, 'FIRST_WAITS_SECONDS', minute)
    port = get_free_port()
    process = multiprocessing.get_context('fork').Process(
        target=wait_alone, args=(tmp_path, port, timeout))
    process.start()
    process.join(50)
    if process.exitcode is None:
        process.kill()
    error = (tmp_path / 'error.txt').read_text()
    assert error.startswith('the processes do not come together') and '\n' not in error
    assert '1/2 clients joined' in error
