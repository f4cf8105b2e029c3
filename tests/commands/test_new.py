"""`new`, then `train`, then `test`, from data of every kind that a person may have."""
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / 'datasets/importers'))
from scene import (  # noqa: E402
    CLASSES,
    SCENE,
    coco,
    label_map,
    write_coco,
    write_cvat,
    write_images,
    write_json,
    write_labelme,
    write_masks,
    write_voc,
    write_yolo,
)

from convnext_dense.cli import main  # noqa: E402
from convnext_dense.config import load_config  # noqa: E402
from convnext_dense.datasets.importers import FORMATS  # noqa: E402
from convnext_dense.datasets.importers.names import FORMAT_NAMES  # noqa: E402

SOURCES = {
    'coco': write_coco, 'yolo': write_yolo, 'voc': write_voc, 'labelme': write_labelme,
    'cvat': write_cvat, 'index-masks': write_masks,
    'colour-masks': lambda root: write_masks(root, colours=True)}
TASKS = dict(voc='boxes') | dict.fromkeys(('index-masks', 'colour-masks'), 'labels')


def new(tmp_path, *options, data='in'):
    return main(['new', str(tmp_path / 'out'), '--data', str(tmp_path / data), '--device', 'cpu',
                 '--weights', 'none', *options])


QUICK = ('yolo', 'colour-masks')  # the other formats' models are trained by the slow tests


@pytest.mark.parametrize('source', [
    *QUICK, *(pytest.param(source, marks=pytest.mark.slow) for source in SOURCES
              if source not in QUICK)])
def test_from_data_to_an_evaluated_model(source, tmp_path, monkeypatch, capsys):
    SOURCES[source](tmp_path / 'in')
    assert new(tmp_path) == 0
    printed = capsys.readouterr().out
    assert '4 images' in printed and 'convnext-dense train' in printed
    monkeypatch.chdir(tmp_path / 'out')
    tiny = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2',
            'param_scheduler.0.total_steps=4', 'default_hooks.checkpoint.interval=2']
    assert main(['train', '--device', 'cpu', '--cfg-options', *tiny]) == 0
    assert main(['test', 'config.py', 'work_dir/iter_2.pth', '--device', 'cpu',
                 '--cfg-options', *tiny]) == 0
    figures = [set(json.loads(path.read_text())) for path in Path('work_dir').glob('*/*.json')]
    expected = {'labels': 'mIoU', 'boxes': 'coco/bbox_mAP'}.get(TASKS.get(source),
                                                               'coco/segm_mAP')
    assert any(expected in keys for keys in figures)
    image = next(path for path in Path('data').rglob('*.jpg'))
    assert main(['predict', str(image), '--model', 'work_dir', '--out', 'shown',
                 '--device', 'cpu']) == 0
    assert [path for path in Path('shown').rglob('*') if path.is_file()]


@pytest.mark.parametrize('source', SOURCES)
def test_the_config_is_short_and_fits_the_data(source, tmp_path):
    SOURCES[source](tmp_path / 'in')
    assert new(tmp_path) == 0
    text = (tmp_path / 'out/config.py').read_text()
    assert len(text.splitlines()) < 90 and max(map(len, text.splitlines())) <= 100
    cfg = load_config(tmp_path / 'out/config.py')
    assert tuple(cfg.train_dataloader.dataset.metainfo.classes) == tuple(
        sorted(CLASSES) if source in ('voc', 'labelme') else CLASSES)
    assert cfg.work_dir == str(tmp_path / 'out/work_dir')
    assert main(['check-data', str(tmp_path / 'out/config.py'), '--fast']) == 0


def test_the_folder_can_be_moved(tmp_path):
    write_coco(tmp_path / 'in')
    assert new(tmp_path) == 0
    (tmp_path / 'out').rename(tmp_path / 'moved')
    assert main(['check-data', str(tmp_path / 'moved/config.py'), '--fast']) == 0


def test_a_zip_is_unpacked_into_the_folder(tmp_path):
    write_coco(tmp_path / 'in/fruit')
    shutil.make_archive(str(tmp_path / 'fruit'), 'zip', tmp_path / 'in')
    shutil.rmtree(tmp_path / 'in')
    assert new(tmp_path, data='fruit.zip') == 0
    (tmp_path / 'fruit.zip').unlink()
    images = [path for path in (tmp_path / 'out/data').rglob('*.jpg')]
    assert len(images) == 4 and all(Image.open(path).size for path in images)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['config.py', 'data']


def test_a_test_set_is_what_test_evaluates(tmp_path):
    names = list(SCENE)
    for folder, part in (('train', names[:2]), ('valid', names[2:3]), ('test', names[3:])):
        write_images(tmp_path / 'in' / folder, part)
        write_json(tmp_path / 'in' / folder / '_annotations.coco.json', coco(part))
    assert new(tmp_path) == 0
    cfg = load_config(tmp_path / 'out/config.py')
    assert cfg.test_dataloader.dataset.ann_file == 'annotations/test.json'
    assert cfg.test_dataloader.dataset.data_prefix.img == 'test/'
    assert cfg.test_evaluator.ann_file.endswith('annotations/test.json')


def test_colours_and_names_may_be_given(tmp_path, capsys):
    write_masks(tmp_path / 'in', colours=True, table=False)
    assert new(tmp_path) == 2
    assert '--colours' in capsys.readouterr().err
    assert new(tmp_path, '--colours', 'sky=0,0,0', 'road=200,30,30', 'car=30,200,30',
               'ignore=64,64,64') == 0
    cfg = load_config(tmp_path / 'out/config.py')
    assert cfg.train_dataloader.dataset.metainfo.classes == ('sky', 'road', 'car')
    written = sorted((tmp_path / 'out/data/annotations').glob('*/*.png'))
    for path in written:
        assert (np.asarray(Image.open(path))
                == label_map(list(SCENE).index(f'{path.stem}.jpg'))).all()


@pytest.mark.parametrize('broken', ['no such source', 'taken', 'empty', 'half way', 'no zip'])
def test_nothing_is_left_where_something_fails(broken, tmp_path, monkeypatch, capsys):
    write_coco(tmp_path / 'in')
    data = 'in'
    if broken == 'no such source':
        data = 'elsewhere'
    elif broken == 'taken':
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out/mine').write_text('mine')
    elif broken == 'empty':
        shutil.rmtree(tmp_path / 'in')
        (tmp_path / 'in').mkdir()
    elif broken == 'half way':
        def full(*args):
            raise OSError(28, 'No space left on device')
        monkeypatch.setattr('convnext_dense.datasets.importers.writing.os.symlink', full)
    else:
        data = 'in/images/a.jpg'
    before = sorted(path for path in tmp_path.rglob('*'))
    assert new(tmp_path, data=data) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert sorted(path for path in tmp_path.rglob('*')) == before


def test_weights_that_cannot_be_had_are_said_to_be_missing(tmp_path, monkeypatch, capsys):
    write_coco(tmp_path / 'in')
    monkeypatch.setattr('convnext_dense.planning.weights.can_be_had', lambda name: False)
    assert main(['new', str(tmp_path / 'out'), '--data', str(tmp_path / 'in'),
                 '--device', 'cpu']) == 0
    assert 'the backbone starts from nothing' in capsys.readouterr().out
    monkeypatch.setattr('convnext_dense.planning.weights.can_be_had', lambda name: True)
    assert main(['new', str(tmp_path / 'with'), '--data', str(tmp_path / 'in'),
                 '--device', 'cpu']) == 0
    cfg = load_config(tmp_path / 'with/config.py')
    assert cfg.model.backbone.init_cfg.checkpoint == 'convnextv2-atto_in1k'


def test_train_without_a_config_needs_one_in_this_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--device', 'cpu']) == 2
    assert 'config.py' in capsys.readouterr().err


def test_formats_of_the_help_are_those_of_the_importers():
    assert FORMAT_NAMES == tuple(FORMATS)


def test_help_imports_nothing_heavy():
    code = ('import sys; from convnext_dense.cli import main\ntry: main(["new", "--help"])\n'
            'except SystemExit: pass\nassert not {"torch", "mmengine", "cv2"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)


def test_the_next_commands_can_be_pasted(tmp_path, capsys):
    write_yolo(tmp_path / 'in')
    folder = tmp_path / 'my project'
    assert main(['new', str(folder), '--data', str(tmp_path / 'in'), '--device', 'cpu',
                 '--weights', 'none']) == 0
    train, predict = capsys.readouterr().out.splitlines()[-2:]
    assert shlex.split(train) == ['convnext-dense', 'train', f'{folder}/config.py']
    assert shlex.split(predict)[-1] == f'{folder}/work_dir'


def test_the_report_on_the_data_lies_in_the_project(tmp_path, monkeypatch):
    write_yolo(tmp_path / 'in')
    assert new(tmp_path) == 0
    monkeypatch.chdir(tmp_path)
    main(['check-data', 'out/config.py', '--no-trial', '--samples', '0'])
    assert (tmp_path / 'out' / 'work_dir' / 'data_check' / 'report.json').is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']
