"""One training at a time in a work directory."""
import json
import os
import socket
import subprocess
import sys

import pytest
from test_resuming import StopAt, train
from tiny import toy_config

from convnext_dense.errors import InputError
from convnext_dense.runtime.lock import NAME, WorkDirLock, _start_of
from convnext_dense.runtime.newest_checkpoint import newest_whole


def write(folder, age=0., **holder):
    path = folder / NAME
    path.write_text(json.dumps(dict(dict(host=socket.gethostname(), pid=os.getpid(),
                                         started=_start_of(os.getpid()), since='noon'), **holder)))
    os.utime(path, (path.stat().st_mtime - age, ) * 2)


def test_a_second_training_is_refused_and_the_holder_named(tmp_path):
    WorkDirLock(tmp_path).acquire()
    with pytest.raises(InputError, match=f'runs here on {socket.gethostname()}, process '
                       f'{os.getpid()}, since .*; choose another --work-dir') as error:
        train(toy_config(tmp_path))
    assert '\n' not in str(error.value)
    assert not list(tmp_path.glob('*.pth'))


def test_the_lock_is_given_back_however_a_training_ends(tmp_path):
    train(toy_config(tmp_path), StopAt(3))
    assert not (tmp_path / NAME).exists()
    with pytest.raises(InputError):
        train(toy_config(tmp_path, bad_images=dict(limit=-1)))
    train(toy_config(tmp_path), resume=True)
    assert not (tmp_path / NAME).exists()


def dead_process():
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


@pytest.mark.parametrize('holder', [
    dict(), dict(pid=dead_process()), dict(started=1), dict(pid='x'),
    dict(host='elsewhere', age=3600)])
def test_what_a_crash_left_is_taken_over(tmp_path, holder):
    write(tmp_path, **holder)
    lock = WorkDirLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / NAME).read_text())['pid'] == os.getpid()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_a_file_cut_by_a_power_failure_is_taken_over_after_a_while(tmp_path):
    (tmp_path / NAME).write_text('{"host"')
    with pytest.raises(InputError, match='a training runs here'):
        WorkDirLock(tmp_path).acquire()
    os.utime(tmp_path / NAME, (1, 1))
    WorkDirLock(tmp_path).acquire()


def test_a_fresh_lock_of_another_machine_holds(tmp_path):
    write(tmp_path, host='elsewhere', age=60, pid=1)
    with pytest.raises(InputError, match='on elsewhere, process 1, since noon'):
        WorkDirLock(tmp_path).acquire()


@pytest.mark.parametrize('make', [os.mkfifo, lambda path: os.symlink('/etc/passwd', path)])
def test_what_is_no_file_of_a_training_is_named(make, tmp_path):
    make(tmp_path / NAME)
    with pytest.raises(InputError, match=f'{NAME} is no file of a training; remove it'):
        WorkDirLock(tmp_path).acquire()
    os.mkfifo(tmp_path / 'last_checkpoint')
    assert newest_whole(tmp_path) == (None, [])
