"""The commands that README and docs print do what they are there for, run as they are printed.

Names such as CONFIG and PENNFUDAN stand for tiny data, models are small where the command names
none, and a walk adds no more than what keeps it from training or fetching for minutes.
"""
import io
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from prediction.test_sources import write_video
from prediction.trained import detector, segmenter, shapes  # noqa: F401
from printed_commands import CLONE, walk

from convnext_dense.cli import main
from convnext_dense.command_names import SCRIPTS
from convnext_dense.datasets.shapes import write_shapes

sys.path.append(str(CLONE / 'tests/datasets/importers'))
from scene import COLOURS, coco, write_coco, write_images, write_json, write_masks  # noqa: E402

CPU = ['--device', 'cpu']
#: as short as a training can be
SHORT = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'param_scheduler.0.total_steps=2',
         'default_hooks.checkpoint.interval=1', 'default_hooks.logger.interval=1', *(
             f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
             for key in ('num_workers=0', 'persistent_workers=False'))]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to type commands in, with the clone's tools and configs."""
    monkeypatch.chdir(tmp_path)
    for name in ('tools', 'configs'):
        Path(name).symlink_to(CLONE / name)
    return tmp_path


def typed(command, more=(), overrides=(), **names):
    """Run a command with more options and settings; names are written for what they stand for."""
    program, *words = command.words
    if program == 'python':
        words[0] = next(name for name, script in SCRIPTS.items() if script == words[0])
    words = [names.get(word, word) for word in words]
    if overrides and '--cfg-options' not in words:
        words.append('--cfg-options')
    place = words.index('--cfg-options') if overrides else len(words)
    assert main([*words[:place], *more, *words[place:], *overrides]) == 0


def test_from_own_images_to_a_prediction():
    write_coco(Path('fruit_photos'))
    for command in walk('own images'):
        typed(command, ['--weights', 'none', *CPU] if 'new' in command.words else CPU,
              SHORT if 'train' in command.words else ())
    assert len(list(Path('predictions/images').iterdir())) == 4


def test_reports_are_written_again():
    scalars = Path('work_dirs/fruit/20261127_080000/vis_data/scalars.json')
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"loss": 1.5, "step": 10, "iter": 10}\n')
    for command in walk('reports'):
        typed(command)
    assert all('10 steps' in Path(page).read_text()
               for page in ('work_dirs/fruit/report.html', 'fruit.html'))


def test_colours_and_names_of_masks():
    colours = [(128, 64, 128), (70, 130, 180), (0, 0, 0)]
    write_masks(Path('road_images'), colours=True, table=False)
    for path in Path('road_images').rglob('*.png'):
        pixels = np.asarray(Image.open(path).convert('RGB'))
        known = [np.all(pixels == colour, -1) for colour in COLOURS]
        Image.fromarray(np.select([mask[..., None] for mask in known], np.uint8(colours),
                                  np.uint8(colours[2]))).save(path)
    write_images(Path('crack_images/images'))
    for number, image in enumerate(sorted(Path('crack_images/images').iterdir())):
        mask = np.zeros((64, 128), np.uint8)
        mask[10:20, number:60] = 255
        path = Path('crack_images/masks') / f'{image.stem}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    for command in walk('masks'):
        typed(command, ['--weights', 'none', *CPU])
    classes = [tuple(Config.fromfile(f'{name}/config.py').classes) for name in ('road', 'crack')]
    assert classes == [('road', 'sky'), ('intact', 'crack')]


def test_what_new_prints(capsys):
    content = coco()
    content['categories'] = [dict(id=1, name='person')]
    for annotation in content['annotations']:
        annotation['category_id'] = 1
    write_images(Path('people_photos/images'))
    write_json(Path('people_photos/annotations.json'), content)
    for command in walk('people'):
        typed(command, ['--weights', 'none', *CPU])
    heads = [line.split(':')[0] for line in capsys.readouterr().out.splitlines()]
    shown = (CLONE / 'docs/your-images.md').read_text().split('$ convnext-dense new people')[1]
    shown = [line.split(':')[0] for line in shown.split('```')[0].splitlines()[1:]]
    assert len(shown) == 8 and [head for head in heads if head in shown] == shown


@pytest.fixture
def examples(here):
    """Tiny data in the place of Penn-Fudan, laid out like COCO, and CamVid, like ADE20K."""
    write_shapes('CAMVID', train=8, val=2, size=64)
    Path('PENNFUDAN/annotations').mkdir(parents=True)
    for split, name in (('training', 'train2017'), ('validation', 'val2017')):
        shutil.copytree(f'CAMVID/images/{split}', f'PENNFUDAN/{name}')
        content = json.loads(Path(f'CAMVID/annotations/instances_{split}.json').read_text())
        for annotation in content['annotations']:
            annotation['category_id'] = 1
        content['categories'] = [dict(id=1, name='person')]
        write_json(Path(f'PENNFUDAN/annotations/instances_{name}.json'), content)
    shutil.copytree('CAMVID/images/validation', 'photos')


def test_the_examples_train_and_predict(examples):
    for command in walk('examples'):
        typed(command, CPU, () if 'predict' in command.words else SHORT)
    assert len(list(Path('predictions/labels').iterdir())) == 2


@pytest.mark.slow
def test_backbones_are_compared_on_own_data(examples):
    for path in Path('CAMVID/annotations').glob('*.json'):  # CamVid has label maps alone
        path.unlink()
    for command in walk('comparison'):
        typed(command, ['--device', 'cpu', '--seeds', '1', '--size', '64', '--batch', '2',
                        '--iters', '2', '--lrs', '0.002'])
    for name in ('camvid', 'pennfudan'):
        assert Path(f'work_dirs/compare-{name}/report.html').exists()


def test_images_videos_and_lists_are_predicted(segmenter, monkeypatch):  # noqa: F811
    Path('work_dirs').mkdir()
    Path('work_dirs/fruit').symlink_to(segmenter)
    for folder in ('photos', 'cam1'):
        write_images(Path(folder))
        image = cv2.imread(f'{folder}/a.jpg')
        cv2.imwrite(f'{folder}/b.png', image)
    cv2.imwrite('large.tif', np.tile(image, (16, 8, 1)))
    write_video(Path('street.mp4'), 2)
    model = max(segmenter.glob('iter_*.pth'))
    config_of(segmenter).dump('config.py')
    monkeypatch.setattr(sys, 'stdin', io.StringIO('large.tif\n'))
    for command in walk('prediction'):
        typed(command, CPU, CONFIG='config.py', WEIGHTS=str(model))
    assert {'images', 'predictions.csv'} == {path.name for path in Path('results').iterdir()}
    assert {path.name for path in Path('predictions/labels').iterdir()} >= {
        'a.png', 'large.png'}


def config_of(work_dir):
    """The config of a tiny trained model."""
    from convnext_dense.checkpoints import read_checkpoint
    path = next(work_dir.glob('iter_*.pth'))
    return Config.fromstring(read_checkpoint(path)['meta']['cfg'], '.py')


def test_weights_in_training_inspection_and_conversion(detector, capsys):  # noqa: F811
    import torch

    from convnext_dense import ConvNeXt
    config = config_of(detector)
    config.update(work_dir='work_dirs/more', log_level='INFO')
    config.dump('config.py')
    shutil.copy(next(detector.glob('iter_*.pth')), 'epoch_36.pth')
    Path('work_dirs/demo').mkdir(parents=True)
    torch.save(dict(state_dict={f'backbone.{name}': weight for name, weight in ConvNeXt(
        'atto').state_dict().items()}), 'work_dirs/demo/iter_300.pth')
    for command in walk('weights'):
        if '-c' in command.words:
            exec(command.words[-1], {})
        else:
            trains = 'train' in command.words
            typed(command, CPU if trains else (), ['train_cfg.max_epochs=1'] if trains else (),
                  CONFIG='config.py')
    log = ''.join(path.read_text() for path in Path('work_dirs/more').glob('*/*.log'))
    assert 'init_from epoch_36.pth: ' in log and 'frozen: ' in log
    printed = capsys.readouterr().out
    assert 'cascade-mask-rcnn_convnext-t_coco\n' in printed  # the zoo's names
    assert Path('model.safetensors').exists() and Path('timm.safetensors').exists()


def test_data_are_checked(shapes, detector, capsys):  # noqa: F811
    config_of(detector).dump('config.py')
    for command in walk('data'):
        typed(command, CONFIG='config.py', DIR=str(shapes))
    assert 'training can start' in capsys.readouterr().out


def test_models_are_counted_timed_and_compared(detector):  # noqa: F811
    config = config_of(detector)
    config.dump('config.py')
    for command in walk('models'):
        more = ['--rounds', '1', '--warmup', '0', '--size', '64x64', *CPU] \
            if 'tools/analysis/benchmark.py' in command.words else ['--size', '64x64']
        typed(command, more, **{'CONFIG': 'config.py', '[NAME=]PATH': 'Mine=config.py'})
    assert json.loads(Path('speed.json').read_text())
    assert Path('work_dirs/comparison/report.html').exists()
