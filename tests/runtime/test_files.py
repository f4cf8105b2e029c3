"""Files that are whole or not there."""
import errno
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from tiny import toy_config

from convnext_dense.checkpoints.reading import is_whole
from convnext_dense.errors import InputError
from convnext_dense.files import PARTIAL
from convnext_dense.runtime import Runner, files
from convnext_dense.runtime.newest_checkpoint import newest_whole

HERE = Path(__file__).parent


def checkpoint(number=1., iteration=1, **more):
    return dict(meta=dict(iter=iteration, epoch=0), optimizer={},
                state_dict=dict(weight=torch.full((1000, ), number)),
                convnext_dense=dict(written=number), **more)


def kill_writers(folder, kills):
    ran = subprocess.run([sys.executable, HERE / 'writing.py', folder, '--kills', str(kills)],
                         capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert not ran.returncode, ran.stderr
    return json.loads(ran.stdout)


def test_the_newest_finished_checkpoint_survives_10_kills_during_writing(tmp_path):
    result = kill_writers(tmp_path, 10)
    assert result['amiss'] == []


@pytest.mark.slow
def test_the_newest_finished_checkpoint_survives_200_kills_during_writing(tmp_path):
    result = kill_writers(tmp_path, 200)
    assert result['amiss'] == []
    assert result['partial'] > 50  # kills did hit files half written
    assert not list(tmp_path.glob(f'.*{PARTIAL}'))


@pytest.mark.parametrize('keep', [0, 10, .3, .9, -1])
def test_a_cut_checkpoint_is_recognised(tmp_path, keep):
    path = tmp_path / 'iter_1.pth'
    files.write_checkpoint(checkpoint(), path)
    assert is_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[:int(keep * len(content)) if 0 < keep < 1 else keep])
    assert not is_whole(path)


def test_one_flipped_bit_in_a_tensor_is_recognised(tmp_path):
    path = tmp_path / 'iter_1.pth'
    files.write_checkpoint(checkpoint(), path)
    content = bytearray(path.read_bytes())
    position = content.find(torch.full((10, ), 1.).numpy().tobytes())
    content[position + 5] ^= 1
    path.write_bytes(content)
    assert not is_whole(path)


def test_the_checksum_is_written_even_where_torch_was_told_not_to(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        files.write_checkpoint(checkpoint(), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert is_whole(tmp_path / 'a.pth')


def test_torn_files_are_passed_over_with_a_line_each(tmp_path):
    for number in (1, 2, 3):
        files.write_checkpoint(checkpoint(float(number), number), tmp_path / f'iter_{number}.pth')
    files.move_pointer(tmp_path, tmp_path / 'iter_3.pth')
    torn = tmp_path / 'iter_3.pth'
    torn.write_bytes(torn.read_bytes()[:2000])
    path, lines = newest_whole(tmp_path)
    assert path == str(tmp_path / 'iter_2.pth')
    assert len(lines) == 1 and 'iter_3.pth is torn' in lines[0]


def test_the_newest_is_found_though_the_pointer_is_one_behind_or_the_folder_was_copied(tmp_path):
    for number in (9, 10):
        files.write_checkpoint(checkpoint(float(number), number), tmp_path / f'iter_{number}.pth')
    files.move_pointer(tmp_path, '/elsewhere/iter_9.pth')
    os.utime(tmp_path / 'iter_10.pth', (1, 1))
    assert newest_whole(tmp_path)[0] == str(tmp_path / 'iter_10.pth')


def test_weights_without_an_optimizer_are_no_state_to_resume(tmp_path):
    best = checkpoint(5.)
    del best['optimizer']
    files.write_checkpoint(best, tmp_path / 'best_mIoU.pth')
    assert newest_whole(tmp_path) == (None, [])


def fail_after(monkeypatch, allowed, code):
    """Let the operating system refuse to write more than ``allowed`` bytes to a file."""
    whole = files._File.write

    def write(self, data):
        self.total = getattr(self, 'total', 0) + memoryview(data).nbytes
        if self.total > allowed:
            class Full:
                def write(self, data):
                    raise OSError(code, os.strerror(code))

                def close(self):
                    pass
            real, self.file = self.file, Full()
            try:
                return whole(self, data)
            finally:
                self.file = real
        return whole(self, data)
    monkeypatch.setattr(files._File, 'write', write)


@pytest.mark.parametrize('allowed', [0, 100, 3000])
@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failed_write_names_the_reason_and_leaves_the_earlier_checkpoint(
        tmp_path, monkeypatch, allowed, code):
    path = tmp_path / 'iter_1.pth'
    files.write_checkpoint(checkpoint(1.), path)
    fail_after(monkeypatch, allowed, code)
    with pytest.raises(InputError, match=f'iter_1.pth cannot be written: {os.strerror(code)}'):
        files.write_checkpoint(checkpoint(2.), path)
    assert is_whole(path)
    assert (torch.load(path)['state_dict']['weight'] == 1).all()
    assert [file.name for file in tmp_path.iterdir()] == ['iter_1.pth']


def test_too_little_space_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    status = os.statvfs(tmp_path)

    class Small:
        f_bavail, f_frsize = 100, 4096
    monkeypatch.setattr(os, 'statvfs', lambda path: Small)
    with pytest.raises(InputError, match=r'needs 5\.0 MB, but .* has 0\.4 MB left'):
        files.write_checkpoint(dict(weight=torch.zeros(1_000_000)), tmp_path / 'a.pth')
    assert not list(tmp_path.iterdir()) and status.f_bavail > 100


def test_shared_storages_are_counted_once():
    weight = torch.zeros(1000)
    assert files.tensor_bytes(dict(a=weight, b=[weight[:10], dict(c=weight)])) == 4000


def test_a_removed_folder_is_named(tmp_path):
    folder = tmp_path / 'gone'
    with pytest.raises(InputError, match=f'the folder {folder} is gone'):
        files.write_checkpoint(checkpoint(), folder / 'iter_1.pth')


def train_until(work_dir, spoil, resume=False):
    """A toy run with a checkpoint a step, whose folder is spoilt after the third."""
    class Spoil(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 2:
                spoil()
    config = toy_config(work_dir, epochs=1, resume=resume, experiment_name=uuid.uuid4().hex)
    runner = Runner.from_cfg(config)
    if spoil:
        runner.register_hook(Spoil())
    runner.train()
    return runner


def assert_goes_on(work_dir, from_iteration):
    """The next start uses the last whole checkpoint and leaves no temporary file."""
    assert newest_whole(work_dir) == (str(work_dir / f'iter_{from_iteration}.pth'), [])
    assert train_until(work_dir, None, resume=True).iter == 6
    assert not list(work_dir.rglob(f'*{PARTIAL}'))
    assert newest_whole(work_dir)[0] == str(work_dir / 'iter_6.pth')


def test_a_run_whose_disk_gets_full_ends_in_one_line_and_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        with pytest.raises(InputError, match=r'iter_4.pth cannot be written: No space left on '
                           r'device. What was there before is whole; free some space'):
            train_until(tmp_path, lambda: fail_after(patch, 500, errno.ENOSPC))
    assert_goes_on(tmp_path, 3)


@pytest.mark.parametrize('code, message', [(errno.EACCES, 'is not writable; correct its rights'),
                                           (errno.EROFS, 'is read-only; choose another work')])
def test_a_run_whose_folder_becomes_read_only_ends_in_one_line_and_goes_on(
        tmp_path, monkeypatch, code, message):
    """The system's refusal is faked: to root, who runs many containers, no folder is read-only."""
    def refuse():
        def opened(self, path):
            raise OSError(code, os.strerror(code))
        patch.setattr(files._File, '__init__', opened)
    with monkeypatch.context() as patch:
        with pytest.raises(InputError, match=f'iter_4.pth cannot be written: .*{message}'):
            train_until(tmp_path, refuse)
    assert_goes_on(tmp_path, 3)


def test_a_run_whose_folder_is_removed_ends_in_one_line(tmp_path):
    folder = tmp_path / 'work'
    with pytest.raises(InputError, match=f'the folder {folder} is gone; make it again'):
        train_until(folder, lambda: shutil.move(folder, tmp_path / 'elsewhere'))
    shutil.move(tmp_path / 'elsewhere', folder)  # where it was: all is there
    assert_goes_on(folder, 3)


def test_a_real_full_or_read_only_file_system(tmp_path):
    """On a file system of its own, in a name space of its own, where the machine allows that."""
    script = '''
import sys, torch, os, subprocess
from convnext_dense.runtime import files
folder = sys.argv[1]
def write(number, size):
    tensors = dict(weight=torch.full((size, ), float(number)))
    files.write_checkpoint(dict(tensors, meta={}), os.path.join(folder, 'a.pth'))
write(1, 100_000)
files.MARGIN = -10**9  # as with a quota, which statvfs does not tell
try:
    write(2, 2_000_000)
except files.WriteError as error:
    print(error)
assert (torch.load(folder + '/a.pth')['weight'] == 1).all()
assert os.listdir(folder) == ['a.pth'], os.listdir(folder)
subprocess.run(['mount', '-o', 'remount,ro', folder], check=True)
try:
    write(3, 100)
except files.WriteError as error:
    print(error)
assert (torch.load(folder + '/a.pth')['weight'] == 1).all()
'''
    mount = f'mount -t tmpfs -o size=4m tmpfs {tmp_path}'
    if subprocess.run(['unshare', '-m', 'sh', '-c', mount], capture_output=True).returncode:
        pytest.skip('mounting is not allowed here; the faked errors above stand for it')
    ran = subprocess.run(['unshare', '-m', 'sh', '-c', f'{mount} && exec "$0" -c "$1" {tmp_path}',
                          sys.executable, script], capture_output=True, text=True)
    assert not ran.returncode, ran.stderr
    full, read_only = ran.stdout.splitlines()
    assert 'No space left on device' in full and 'free some space' in full
    assert 'is read-only; choose another work directory' in read_only


def test_what_killed_runs_left_is_removed(tmp_path):
    (tmp_path / '.iter_3.pth.123.partial').write_bytes(b'half')
    (tmp_path / 'notes.partial').write_text('mine')
    assert files.remove_partial(tmp_path) == ['.iter_3.pth.123.partial']
    assert [path.name for path in tmp_path.iterdir()] == ['notes.partial']
