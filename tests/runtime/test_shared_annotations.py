"""One process of a machine reads the annotations; the others have the same samples."""
import json
import multiprocessing
import pickle
import tempfile
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmengine.registry import DATASETS

from convnext_dense.datasets.coco_dataset import CocoDataset
from convnext_dense.runtime import shared_annotations
from convnext_dense.runtime.annotations import build_dataset
from convnext_dense.runtime.bad_image_list import BadImageList

CLASSES = ('cat', 'dog')


@DATASETS.register_module()
class Foreign(CocoDataset):
    """Nobody knows what it does while it reads."""


def annotations(path, images=40, category=2):
    path.write_text(json.dumps(dict(
        images=[dict(id=number, file_name=f'{number}.jpg', width=64, height=48)
                for number in range(images)],
        categories=[dict(id=1, name='cat'), dict(id=category, name='dog')],
        annotations=[dict(id=number, image_id=number // 2, category_id=1 + number % 2, iscrowd=0,
                          bbox=[number % 7, 3, 9, 11], area=99) for number in range(images)])))
    return path


def settings(path, kind='convnext_dense.CocoDataset', **options):
    return dict(type=kind, ann_file=str(path), data_prefix=dict(img='images'),
                metainfo=dict(classes=CLASSES), filter_cfg=dict(filter_empty_gt=True), pipeline=[],
                **options)


def process(rank, processes, folder, config, temporary):
    """What one of several processes finds."""
    reads, load = [], MMDetCocoDataset.filter_data
    MMDetCocoDataset.filter_data = lambda self: reads.append(1) or load(self)
    tempfile.tempdir = temporary
    torch.distributed.init_process_group('gloo', f'file://{folder}/meeting', rank=rank,
                                         world_size=processes)
    found = dict(reads=0, error=None)
    try:
        dataset = build_dataset(config, BadImageList(str(folder), limit=.9))
        leaves = getattr(dataset, 'datasets', [dataset])
        found.update(
            samples=[dataset.get_data_info(number) for number in range(len(dataset))],
            mapped=[isinstance(getattr(leaf, 'data_bytes', None), np.memmap) for leaf in leaves],
            labels=[leaf.cat2label for leaf in leaves])
    except Exception as error:
        found['error'] = str(error) + ('' if '\n' not in str(error) else traceback.format_exc())
    found['reads'] = len(reads)
    Path(folder, f'found_{rank}').write_bytes(pickle.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture
def found_by(tmp_path):
    def run(config, processes=3, temporary=None):
        temporary = temporary or str(tmp_path / 'temporary')
        (tmp_path / 'temporary').mkdir(exist_ok=True)
        start = multiprocessing.get_context('fork').Process
        running = [start(target=process, args=(rank, processes, tmp_path, config, temporary))
                   for rank in range(processes)]
        for one in running:
            one.start()
        for one in running:
            one.join(60)
            assert one.exitcode == 0
        assert not list((tmp_path / 'temporary').iterdir())  # nothing is left behind
        return [pickle.loads((tmp_path / f'found_{rank}').read_bytes())
                for rank in range(processes)]
    return run


def alone(config, tmp_path):
    dataset = build_dataset(config, BadImageList(str(tmp_path), limit=.9))
    return [dataset.get_data_info(number) for number in range(len(dataset))]


def test_one_process_reads_and_all_have_the_samples(found_by, tmp_path):
    config = settings(annotations(tmp_path / 'one.json'))
    found = found_by(config)
    assert [one['reads'] for one in found] == [1, 0, 0]
    assert all(one['mapped'] == [True] and one['labels'] == [{1: 0, 2: 1}] for one in found)
    assert found[0]['samples'] == found[1]['samples'] == found[2]['samples'] == alone(
        config, tmp_path)
    assert len(found[0]['samples']) == 20


def test_data_sets_inside_of_others_are_shared_each(found_by, tmp_path):
    parts = [settings(annotations(tmp_path / f'{number}.json', 4 + number)) for number in (0, 2)]
    config = dict(type='ConcatDataset', datasets=parts)
    found = found_by(config, 2)
    assert [one['reads'] for one in found] == [2, 0] and found[1]['mapped'] == [True, True]
    assert found[1]['samples'] == alone(config, tmp_path)


def test_an_error_of_the_reader_is_everybody_s(found_by, tmp_path):
    path = tmp_path / 'torn.json'
    path.write_text('{"images": [')
    errors = [one['error'] for one in found_by(settings(path))]
    assert str(path) in errors[0] and errors == [errors[0]] * 3 and '\n' not in errors[0]


@pytest.mark.parametrize('options, temporary', [
    (dict(kind='Foreign'), None), (dict(serialize_data=False), None), ({}, '/nowhere')])
def test_what_cannot_be_shared_is_read_by_each(found_by, tmp_path, options, temporary):
    config = settings(annotations(tmp_path / 'one.json'), **options)
    found = found_by(config, 2, temporary)
    assert [one['reads'] for one in found] == [1, 1]
    assert found[0]['samples'] == found[1]['samples'] == alone(config, tmp_path)


def replace(path, content):
    """Another file of that name: the reader has mapped the old one."""
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize('name', ['state.pickle', 'data_bytes.npy', 'data_address.npy'])
def test_samples_that_cannot_be_mapped_are_read_by_that_process(
        found_by, tmp_path, monkeypatch, name):
    share = shared_annotations._read_and_share

    def spoiled(*args):
        outcome = share(*args)
        replace(Path(outcome[1], name), b'torn')
        return outcome

    monkeypatch.setattr(shared_annotations, '_read_and_share', spoiled)
    config = settings(annotations(tmp_path / 'one.json'))
    found = found_by(config, 2)
    assert [one['error'] for one in found] == [None, None]
    assert [one['reads'] for one in found] == [1, 1]
    assert found[0]['samples'] == found[1]['samples'] == alone(config, tmp_path)
