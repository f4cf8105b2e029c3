"""What keeps processes from working together is the same line in each of them, within a minute."""
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_sharding import run

HERE = Path(__file__).parent
TWO = dict(processes=2, batch=2, iters=4, grace=30)
#: name -> what is wrong, and the line
FAILS = {
    'other configs': (dict(second={'optim_wrapper.optimizer.lr': .5}),
                      'the config of process 1 on '),
    'no data': (dict(options={'train_dataloader.sampler': dict(type='Selfish')}),
                'train_dataloader gives process 1 0 batches and process 0 '),
    'uneven validation': (
        dict(options={'parallel.type': 'fsdp', 'val_dataloader.sampler': dict(type='Selfish')}),
        'val_dataloader gives process 1 0 batches and process 0 '),
    'too few images': (
        dict(batch=8, options={'train_dataloader.sampler.type': 'DefaultSampler',
                               'train_dataloader.drop_last': True}),
        'the training data give not a single batch')}


@pytest.fixture(scope='module')
def failed(tiny_shapes, tmp_path_factory):
    begin = time.monotonic()
    folder = run([dict(TWO, name=name, fails=True, **changes)
                  for name, (changes, _) in FAILS.items()],
                 tiny_shapes, tmp_path_factory.mktemp('fails'))
    assert time.monotonic() - begin < 60 * len(FAILS)
    return folder


@pytest.mark.parametrize('name', FAILS)
def test_every_process_ends_with_the_line(failed, name):
    for rank in range(2):
        text = (failed / name / f'output{rank}.txt').read_text()
        assert f'InputError: {FAILS[name][1]}' in text


@pytest.mark.slow
@pytest.mark.parametrize('moment', ['train', 'val'])
def test_a_process_that_dies_takes_the_others_with_it(tmp_path, moment):
    """Under torchrun; the other one waits for it in an exchange. About 30 s."""
    begin = time.monotonic()
    ended = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2',
         HERE / 'dying.py', tmp_path, moment], timeout=300, capture_output=True, text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
                 PYTHONPATH=os.pathsep.join([str(HERE), str(HERE.parents[1])])))
    died = float((tmp_path / 'died').read_text())
    assert ended.returncode != 0 and time.monotonic() - begin < 300
    assert time.time() - died < 60
    assert 'SIGKILL' in ended.stderr
