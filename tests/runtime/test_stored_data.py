"""A training on an archive's files is the training on the files."""
import uuid
import zipfile
from pathlib import Path

import pytest
from killing import final_state, same
from tiny import detector_config, segmenter_config

from convnext_dense.checks.preflight import check_config
from convnext_dense.runtime import Runner


def with_backend(config, args):
    """Data sets, their steps and metrics read through a backend."""
    for name in ('train', 'val', 'test'):
        dataset = config[f'{name}_dataloader'].dataset
        dataset.update(data_root=args['root'], backend_args=args)
        for step in dataset.pipeline:
            if 'Load' in step['type']:
                step['backend_args'] = args
        for evaluator in [config[f'{name}_evaluator']] if name != 'train' else ():
            if 'ann_file' in evaluator:
                place = Path(evaluator.ann_file)
                evaluator.update(ann_file=f'{args["root"]}{place.parent.name}/{place.name}',
                                 backend_args=args)
    return config


@pytest.mark.parametrize('make', [segmenter_config, detector_config])
def test_a_run_on_an_archive_is_the_run_on_its_files(make, tiny_shapes, tmp_path):
    archive = tmp_path / 'shapes.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for one in Path(tiny_shapes).rglob('*'):
            file.write(one, one.relative_to(tiny_shapes))
    args = dict(backend='fsspec', archive=str(archive), root='zipped/')
    length = dict(iters=4) if make is segmenter_config else dict(epochs=2)
    plain, stored = (make(tiny_shapes, tmp_path / name, workers=2, **length)
                     for name in ('plain', 'stored'))
    for config in (plain, with_backend(stored, args)):
        config.experiment_name = f'run_{uuid.uuid4().hex}'
        check_config(config, training=True)
        Runner.from_cfg(config).train()
    assert same(final_state(tmp_path / 'plain'), final_state(tmp_path / 'stored'))
