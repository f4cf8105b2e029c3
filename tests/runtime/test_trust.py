"""What a checkpoint and a pointer name is trusted only inside of the work directory."""
import os
import shutil
from pathlib import Path

import pytest
import torch
from killing import final_state, same
from test_resuming import StopAt, log_of, train
from tiny import toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import files
from convnext_dense.runtime.checkpoint_folder import CheckpointFolder, checkpoint_folder
from convnext_dense.runtime.newest_checkpoint import newest_whole


def canaries(folder):
    """Files outside of the work directory and inside, which nothing may touch."""
    paths = [folder / name for name in (
        'outside.txt', 'iter_1.pth', 'other/iter_2.pth', 'other/epoch_3.pth', 'work/notes.txt',
        'work/weights.pth', 'work/best.pth', 'work/sub/iter_4.pth')]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'canary {path}')
    return paths


def spoil(work_dir, **info):
    """Put entries into the message hub of the newest checkpoint of a run."""
    path = newest_whole(work_dir)[0]
    checkpoint = torch.load(path, weights_only=False)
    hub = checkpoint['message_hub']
    for key, value in info.items():
        hub['runtime_info'][key] = value
        hub['resumed_keys'][key] = True
    files.write_checkpoint(checkpoint, path)


def config_of(work_dir, scores=(.1, .2, .3)):
    config = with_validation(toy_config(work_dir, log_level='INFO'), 1, scores=scores)
    config.default_hooks.checkpoint.update(save_best='score', rule='greater')
    return config


def hostile(folder):
    """Names that lead to the canaries, or to what is no name at all."""
    paths = [str(path) for path in canaries(folder)]
    relative = [os.path.relpath(path, folder / 'work') for path in paths]
    return [*paths, *relative, '/etc/passwd', '.', '..', '', '\0', 7, None, ['iter_3.pth'],
            'x' * 5000, 'sub/iter_4.pth', 'link.pth', 'iter_99.pth/..']


def test_resuming_removes_nothing_that_a_checkpoint_names(tmp_path):
    work_dir = tmp_path / 'work'
    names = hostile(tmp_path)
    train(config_of(work_dir), StopAt(13))
    for name in ('iter_77.pth', 'best_score_iter_77.pth', 'epoch_77.pth'):
        os.symlink(tmp_path / 'outside.txt', work_dir / name)
    os.symlink(tmp_path / 'other', work_dir / 'link.pth')
    before = {path: path.read_text() for path in canaries(tmp_path)}
    newest = newest_whole(work_dir)[0]
    spoil(work_dir, keep_ckpt_ids=['../other/2', -1, True, 77, 77, 77, 77, 77],
          outdated_ckpts=[*names, 'iter_77.pth', newest, os.path.basename(newest)],
          interrupted_ckpt=str(tmp_path / 'iter_1.pth'), best_ckpt=str(tmp_path / 'outside.txt'),
          last_ckpt=str(tmp_path / 'other/iter_2.pth'))
    runner, _ = train(config_of(work_dir, scores=(.9, )), resume=True)
    assert runner.iter == 18
    assert {path: path.read_text() for path in before} == before


@pytest.mark.parametrize('value', [7, None, 'iter_3.pth', dict(a=1), [[1]], [dict()]])
def test_entries_of_another_type_do_not_matter(tmp_path, value):
    train(config_of(tmp_path), StopAt(13))
    spoil(tmp_path, outdated_ckpts=value, keep_ckpt_ids=value, interrupted_ckpt=value,
          best_ckpt=value)
    assert train(config_of(tmp_path, scores=(.9, )), resume=True)[0].iter == 18


def test_a_copied_work_directory_stands_alone(tmp_path):
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(config_of(one), StopAt(13))
    shutil.copytree(one, two)
    before = {path.name: path.read_bytes() for path in one.glob('*.pth')}
    assert any(name.startswith('best_score') for name in before)
    assert (one / 'last_checkpoint').read_text() == 'iter_14.pth'
    train(config_of(two, scores=(.9, )), resume=True)
    assert f'resumed {two}/iter_14.pth' in log_of(two)
    assert {path.name: path.read_bytes() for path in one.glob('*.pth')} == before
    # the copy's own best checkpoint was replaced by the better one
    assert [path.name for path in two.glob('best_*')] == ['best_score_iter_18.pth']
    train(config_of(one, scores=(.9, )), resume=True)
    assert same(final_state(one), final_state(two))


def test_nothing_in_a_checkpoint_names_the_folder(tmp_path):
    train(config_of(tmp_path), StopAt(13))
    hub = torch.load(newest_whole(tmp_path)[0], weights_only=False)['message_hub']
    named = [hub['runtime_info'][key] for key in ('last_ckpt', 'best_ckpt')]
    assert named == ['iter_14.pth', 'best_score_iter_12.pth']
    assert str(tmp_path) not in str(hub['runtime_info']['outdated_ckpts'])


@pytest.mark.parametrize('absolute', [True, False])
def test_a_pointer_that_leads_out_is_not_followed(tmp_path, absolute):
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(toy_config(one), StopAt(3))
    train(toy_config(two), StopAt(5))
    target = one / 'iter_4.pth' if absolute else '../one/iter_4.pth'
    (two / 'last_checkpoint').write_text(str(target))
    path, lines = newest_whole(two)
    assert path == str(two / 'iter_6.pth')
    assert len(lines) == 1 and 'it is not followed' in lines[0]
    for checkpoint in two.glob('*.pth'):
        checkpoint.unlink()
    with pytest.raises(InputError, match='name the checkpoint with --resume PATH') as error:
        train(toy_config(two), resume=True)
    assert '\n' not in str(error.value)


def test_only_checkpoints_by_name_that_are_no_links_to_elsewhere_are_resumed(tmp_path):
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(toy_config(one), StopAt(9))
    two.mkdir()
    shutil.copy(one / 'iter_10.pth', two / 'copy_of_a_friend.pth')
    os.symlink(one / 'iter_10.pth', two / 'iter_10.pth')
    os.symlink('iter_11.pth', two / 'iter_11.pth')
    assert newest_whole(two)[0] is None
    shutil.copy(one / 'iter_8.pth', two)
    assert newest_whole(two)[0] == str(two / 'iter_8.pth')


def test_a_work_directory_that_is_a_link_is_one(tmp_path):
    (tmp_path / 'disk').mkdir()
    os.symlink(tmp_path / 'disk', tmp_path / 'work')
    train(config_of(tmp_path / 'work'), StopAt(13))
    runner, _ = train(config_of(tmp_path / 'work', scores=(.9, )), resume=True)
    assert runner.iter == 18
    assert [path.name for path in (tmp_path / 'disk').glob('best_*')] == ['best_score_iter_18.pth']


def test_a_folder_for_checkpoints_of_its_own(tmp_path):
    config = config_of(tmp_path / 'work')
    config.default_hooks.checkpoint.update(out_dir=str(tmp_path / 'big'))
    train(config, StopAt(13))
    assert (tmp_path / 'work/last_checkpoint').read_text() == '../big/work/iter_14.pth'
    config.val_evaluator.scores = [.9]
    runner, hook = train(config, resume=True)
    assert runner.iter == 18 and len(hook.batches) == 4
    assert [path.name for path in (tmp_path / 'big/work').glob('best_*')] == [
        'best_score_iter_18.pth']


@pytest.mark.parametrize('template', ['state-{:06d}.pth', '{}.pth'])
def test_a_name_of_its_own(tmp_path, template):
    config = toy_config(tmp_path)
    config.default_hooks.checkpoint.filename_tmpl = template
    train(config, StopAt(7))
    assert len(train(config, resume=True)[1].batches) == 10


def test_names_of_checkpoints(tmp_path):
    folder = CheckpointFolder(tmp_path, 'a.{:03d}.pth')
    for name in ('iter_1.pth', 'epoch_12.pth', 'a.001.pth', 'best_coco_bbox_mAP_a.001.pth',
                 'best_mIoU_iter_3.pth', str(tmp_path / 'iter_1.pth')):
        assert folder.find(name) == tmp_path / Path(name).name
    for name in ('aX001.pth', 'iter_1.pth.bak', 'iter_.pth', '/iter_1.pth', '../iter_1.pth',
                 'x/iter_1.pth', 'best_iter_1.pt', 'last_checkpoint', '', 3, None, '\0'):
        assert folder.find(name) is None
    cfg = dict(default_hooks=dict(checkpoint=dict(out_dir='big')))
    assert str(checkpoint_folder(cfg, 'work_dirs/run/').folder) == 'big/run'


def test_the_iteration_decides_within_a_run_and_the_time_between_runs(tmp_path):
    def write(iteration, written, run):
        files.write_checkpoint(dict(
            meta=dict(iter=iteration, epoch=0), optimizer={},
            convnext_dense=dict(run_id=run, written=written)), tmp_path / f'iter_{iteration}.pth')
    write(10, 5000., 'a')  # a clock was ahead
    write(11, 100., 'a')
    assert newest_whole(tmp_path)[0] == str(tmp_path / 'iter_11.pth')
    write(3, 6000., 'b')
    assert newest_whole(tmp_path)[0] == str(tmp_path / 'iter_3.pth')


def test_a_run_that_goes_back_is_another_run(tmp_path):
    train(toy_config(tmp_path), StopAt(9))
    assert newest_whole(tmp_path)[0] == str(tmp_path / 'iter_10.pth')
    config = toy_config(tmp_path, load_from=str(tmp_path / 'iter_8.pth'))
    train(config, StopAt(8), resume=True)
    assert newest_whole(tmp_path)[0] == str(tmp_path / 'iter_9.pth')


def test_a_checkpoint_in_the_format_of_old_torch_is_whole(tmp_path):
    path = tmp_path / 'iter_4.pth'
    state = dict(meta=dict(iter=4, epoch=0), optimizer={}, state_dict=dict(a=torch.ones(1000)))
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert newest_whole(tmp_path) == (str(path), [])
    path.write_bytes(path.read_bytes()[:-500])
    assert newest_whole(tmp_path)[0] is None
