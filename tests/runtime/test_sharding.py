"""A sharded run is the unsharded one; its checkpoints are everybody's."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killing import same
from test_resuming import kill_runs

from convnext_dense.analysis.run_report.gathering import gather

HERE = Path(__file__).parent
#: the faster forms on a CPU round otherwise, and a sharded model has none of them
PLAIN = {'acceleration': dict(forms=False)}
FSDP = {**PLAIN, 'parallel.type': 'fsdp'}
DDP = {**PLAIN, 'parallel.type': 'ddp', 'parallel.static_graph': True,
       'parallel.gradient_as_bucket_view': True}
PARTS = ('state_dict', 'ema_state_dict', 'optimizer')


def run(scenarios, data, work_dir, timeout=600):
    """Run scenarios of worlds.py, which end as expected; all processes of one that ``fails`` do."""
    path = work_dir / 'scenarios.json'
    path.write_text(json.dumps(scenarios))
    ended = subprocess.run(
        [sys.executable, HERE / 'worlds.py', path, data, work_dir], timeout=timeout,
        capture_output=True, text=True, env=dict(
            os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
            PYTHONPATH=os.pathsep.join([str(HERE), str(HERE.parents[1])])))
    assert ended.returncode == 0, ended.stderr[-2000:]
    for scenario in scenarios:
        expected = 77 if 'stop' in scenario else 2 if 'fails' in scenario else 0
        statuses = json.loads(ended.stdout.splitlines()[-1])[scenario['name']]
        folder = work_dir / scenario['name']
        assert expected in statuses and set(statuses) <= (
            {2} if 'fails' in scenario else {expected, -9}), ''.join(
            path.read_text()[-1500:] for path in sorted(folder.glob('output*.txt')))
    return work_dir


def read(path):
    checkpoint = torch.load(path, weights_only=False)
    return {part: checkpoint.get(part) for part in PARTS}


def distance(one, other):
    """The greatest relative distance of two state dicts' tensors."""
    assert one.keys() == other.keys()
    return max(((one[name].double() - other[name].double()).norm()
                / max(other[name].double().norm(), 1e-12)).item()
               for name in one if one[name].is_floating_point())


@pytest.fixture(scope='module')
def runs(tiny_shapes, tmp_path_factory):
    two = dict(processes=2, batch=2, iters=4)
    return run([
        dict(two, name='ddp', options=DDP),
        dict(two, name='fsdp', options=FSDP),
        dict(two, name='fsdp-part', options=FSDP, stop=2),
        dict(two, name='fsdp-resumed', options=FSDP, copy='fsdp-part'),
        dict(two, name='ddp-after-fsdp', options=DDP, resave=True, copy='fsdp-part'),
        dict(name='one-after-fsdp', processes=1, batch=4, iters=4, options=PLAIN, resave=True,
             copy='fsdp-part'),
        dict(two, name='fsdp-after-ddp', options=FSDP, resave=True, iters=5, copy='ddp'),
    ], tiny_shapes, tmp_path_factory.mktemp('sharding'))


def test_a_sharded_run_ends_with_the_weights_and_averages_of_an_unsharded_one(runs):
    ddp, fsdp = (read(runs / name / 'iter_4.pth') for name in ('ddp', 'fsdp'))
    start = read(runs / 'ddp' / 'iter_1.pth')
    assert distance(ddp['state_dict'], start['state_dict']) > 1e-2  # it has learned
    assert distance(fsdp['state_dict'], ddp['state_dict']) < 1e-5
    assert distance(fsdp['ema_state_dict'], ddp['ema_state_dict']) < 1e-5


def test_a_sharded_run_validates_with_the_averages_of_all_parts(runs):
    figures = [[json.loads(line)['mIoU'] for path in (runs / name).glob('*/vis_data/*.json')
                for line in path.read_text().splitlines() if 'mIoU' in line]
               for name in ('ddp', 'fsdp')]
    assert figures[0] and figures[0] == figures[1]


def test_a_resumed_sharded_run_is_the_uninterrupted_one(runs):
    assert same(*(read(runs / name / 'iter_4.pth') for name in ('fsdp', 'fsdp-resumed')))
    assert 'the resumed run is exact' in (runs / 'fsdp-resumed' / 'output0.txt').read_text()


@pytest.mark.parametrize('name, written', [
    ('ddp-after-fsdp', 'iter_2.pth'), ('one-after-fsdp', 'iter_2.pth'),
    ('fsdp-after-ddp', 'iter_4.pth')])
def test_a_checkpoint_loads_exactly_under_another_strategy(runs, name, written):
    assert same(read(runs / name / 'loaded.pth'), read(runs / name / written))


def test_a_sharded_run_says_what_it_did(runs):
    text = (runs / 'fsdp' / 'output0.txt').read_text()
    assert 'parameters shared out between 2 processes in 6 groups' in text
    assert 'Warning: FSDP2' not in text


@pytest.mark.parametrize('name, starts', [('ddp', 1), ('fsdp', 1), ('fsdp-resumed', 2)])
def test_the_report_of_several_processes_is_the_main_one_s(runs, name, starts):
    """The figures are those of all processes; the images those that the main one validated."""
    report = gather(runs / name)
    assert (report.state, report.step, len(report.starts)) == ('finished', 4, starts)
    assert report.facts['processes'] == 2 and report.facts['batch'] == 2
    assert [line['step'] for line in report.validations] == [4]
    assert report.validations[0]['scored'] == 1  # of two images
    assert [value for _, value in report.points['mIoU']] == [
        value for _, value in gather(runs / 'ddp').points['mIoU']]
    assert (runs / name / 'report.html').stat().st_size > 10_000
    for rank in range(2):
        assert 'is not up to date' not in (runs / name / f'output{rank}.txt').read_text()


@pytest.mark.slow
def test_a_sharded_run_with_acceleration_left_alone_has_no_faster_forms(tiny_shapes, tmp_path):
    two = dict(processes=2, batch=2, iters=2)
    run([dict(two, name='plain', options=FSDP),
         dict(two, name='default', options={'parallel.type': 'fsdp'})], tiny_shapes, tmp_path)
    assert same(*(read(tmp_path / name / 'iter_2.pth') for name in ('plain', 'default')))


BFLOAT16 = {'optim_wrapper.type': 'convnext_dense.Bfloat16OptimWrapper'}


@pytest.mark.slow
def test_four_processes_and_mixed_precision(tiny_shapes, tmp_path):
    """A reduced V2-Huge for 20 steps on 2 and 4 processes; checkpointed blocks; half the bytes.

    FSDP equals DDP in as many processes. Other numbers of processes are compared in float64, by
    ``test_equal_batches.py``: in float32 another order of a sum moves an entry whose gradient is
    nearly 0 elsewhere in AdamW's first step, which divides by it (1.35e-5 of GRN's bias).
    """
    two, four = dict(processes=2, batch=2, iters=20), dict(processes=4, batch=1, iters=20)
    checkpointed = {'model.backbone.with_cp': [0, 2]}
    run([dict(two, name='ddp2', options=DDP), dict(two, name='fsdp2', options=FSDP),
         dict(four, name='ddp4', options=DDP), dict(four, name='fsdp4', options=FSDP),
         dict(two, name='recomputed', options={**FSDP, **checkpointed}),
         dict(two, name='kept', options={**FSDP, 'parallel.reshard_after_forward': False,
                                         'parallel.blocks': 1}),
         dict(two, name='ddp-half', options={**DDP, **BFLOAT16}),
         dict(two, name='fsdp-half', options={**FSDP, **BFLOAT16,
                                              'parallel.param_dtype': 'bfloat16',
                                              'parallel.reduce_dtype': 'float32'}),
         dict(name='two-after-four', processes=2, batch=2, iters=24, resave=True, copy='fsdp4',
              options=FSDP),
         dict(name='one-after-four', processes=1, batch=4, iters=24, resave=True, copy='fsdp4')],
        tiny_shapes, tmp_path, timeout=3000)
    last = {path.parent.name: read(path) for path in tmp_path.glob('*/iter_20.pth')}

    def apart(name, other, part='state_dict'):
        return distance(last[name][part], last[other][part])

    for name, other in dict(fsdp2='ddp2', fsdp4='ddp4', recomputed='fsdp2',
                            kept='fsdp2').items():
        assert apart(name, other) < 1e-5, (name, other)
        assert apart(name, other, 'ema_state_dict') < 1e-5, (name, other)
    assert 0 < apart('fsdp-half', 'ddp-half') < apart('ddp-half', 'ddp2') * 2
    for name in ('two-after-four', 'one-after-four'):
        assert same(read(tmp_path / name / 'loaded.pth'), last['fsdp4'])


@pytest.mark.slow
@pytest.mark.parametrize('processes', [2, 4])
def test_sharded_runs_killed_at_random_moments_end_bit_identical(tmp_path, tiny_shapes, processes):
    """With batch norm, drop path, dropout and averages; 5 runs of up to 2 kills each."""
    result = kill_runs('segmenter', tmp_path, '--data', tiny_shapes, '--runs', 5, '--kills', 2,
                       '--processes', processes, '--fsdp')
    assert result['different'] == [] and result['kills'] >= 5
