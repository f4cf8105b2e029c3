"""convnext-dense predict, from the command line to the files."""
import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from prediction.test_sources import write_video
from prediction.trained import detector, segmenter, shapes  # noqa: F401

from convnext_dense import Predictor
from convnext_dense.cli import run_command
from convnext_dense.commands import options
from convnext_dense.commands.options import export_hint


@pytest.fixture
def folder(shapes, tmp_path):  # noqa: F811
    """Images in sub-folders, two of one name, and one that is broken."""
    source = sorted((shapes / 'images' / 'validation').iterdir())
    folder = tmp_path / 'in'
    for index, name in enumerate(('a/1.png', 'b/1.png', 'b/2.png')):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source[index].read_bytes())
    (folder / 'b' / 'torn\x1b[2J.png').write_bytes(source[0].read_bytes()[:300])
    return folder


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')
                  if path.is_file())


def test_a_detector_writes_every_format(folder, detector, tmp_path, capsys):  # noqa: F811
    out = tmp_path / 'out'
    status = run_command('predict', [
        str(folder), '--model', str(detector), '--out', str(out), '--threshold', '0', '--device',
        'cpu', '--save', 'images', 'coco', 'csv', 'yolo'])
    printed = capsys.readouterr()
    assert status == 1
    assert f'3 images predicted with {detector}/iter_2.pth' in printed.out
    assert '1 passed over' in printed.out
    assert r'torn\x1b[2J.png is truncated' in printed.err and '\x1b' not in printed.err
    assert files_of(out) == [
        'coco.json', 'images/a/1.png', 'images/b/1.png', 'images/b/2.png', 'predictions.csv',
        'yolo/a/1.txt', 'yolo/b/1.txt', 'yolo/b/2.txt', 'yolo/classes.txt']

    expected = Predictor(detector, device='cpu', threshold=0)(
        [folder / 'a' / '1.png', folder / 'b' / '1.png', folder / 'b' / '2.png'])
    coco = json.loads((out / 'coco.json').read_text())
    assert [image['file_name'] for image in coco['images']] == ['a/1.png', 'b/1.png', 'b/2.png']
    assert [category['name'] for category in coco['categories']] == list(expected[0].names)
    assert [annotation['id'] for annotation in coco['annotations']] == list(
        range(1, 1 + sum(map(len, expected))))
    second = [dict(a, id=0) for a in coco['annotations'] if a['image_id'] == 2]
    assert second == [dict(a, id=0) for a in expected[1].to_coco(2)] and second
    with open(out / 'predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['image'], row['class'], row['score']) for row in rows] == [
        (name, kind, f'{score:.6f}') for name, result in zip(('a/1.png', 'b/1.png', 'b/2.png'),
                                                             expected)
        for kind, score in zip(result.class_names, result.scores)]
    drawn = cv2.imread(str(out / 'images' / 'b' / '1.png'))
    np.testing.assert_array_equal(drawn, expected[1].plot())
    assert (out / 'yolo' / 'classes.txt').read_text().split() == list(expected[0].names)


def test_a_segmenter_writes_label_maps_and_their_colours(folder, segmenter, tmp_path):  # noqa: F811
    out = tmp_path / 'out'
    assert run_command('predict', [str(folder / 'a'), str(folder / 'b' / '2.png'), '--model',
                                   str(segmenter), '--out', str(out), '--device', 'cpu']) == 0
    assert files_of(out) == [f'{kind}/{name}' for kind, names in (
        ('colours', ('1.png', '2.png')), ('images', ('1.png', '2.png')),
        ('labels', ('1.png', '2.png'))) for name in names]
    expected = Predictor(segmenter, device='cpu')(folder / 'a' / '1.png')
    np.testing.assert_array_equal(
        cv2.imread(str(out / 'labels' / '1.png'), cv2.IMREAD_UNCHANGED), expected.labels)
    np.testing.assert_array_equal(cv2.imread(str(out / 'colours' / '1.png')),
                                  expected.coloured())


def test_a_video_becomes_a_video(segmenter, tmp_path):  # noqa: F811
    write_video(tmp_path / 'v.avi', 4)
    out = tmp_path / 'out'
    assert run_command('predict', [str(tmp_path / 'v.avi'), '--model', str(segmenter), '--out',
                                   str(out), '--device', 'cpu', '--save', 'images', 'labels',
                                   'csv']) == 0
    video = cv2.VideoCapture(str(out / 'images' / 'v.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and video.get(cv2.CAP_PROP_FPS) == 10
    assert video.read()[1].shape == (48, 64, 3)
    assert len(list((out / 'labels' / 'v.avi').iterdir())) == 4
    assert 'v.avi#3,' in (out / 'predictions.csv').read_text()


def test_a_list_comes_from_standard_input(folder, segmenter, tmp_path):  # noqa: F811
    done = subprocess.run(
        [sys.executable, '-m', 'convnext_dense.cli', 'predict', '-', '--model', str(segmenter),
         '--out', str(tmp_path / 'out'), '--save', 'csv', '--device', 'cpu'],
        input=f'{folder / "a" / "1.png"}\n{folder / "b" / "2.png"}\n', text=True,
        capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('2 images predicted')
    assert '\r' not in done.stderr  # no progress bar where nobody looks


@pytest.mark.parametrize('options, words', [
    (['--save', 'labels'], '--save labels: a detector'), (['--tile', '3'], 'tile 3'),
    (['--weights', 'no.pth'], 'no.pth')])
def test_wrong_options_are_one_line(folder, detector, tmp_path, capsys, options, words):  # noqa: F811
    assert run_command('predict', [str(folder), '--model', str(detector), '--out',
                                   str(tmp_path / 'out'), '--device', 'cpu', *options]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('error: ') and words in error and '\n' not in error
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_written_is_named(folder, detector, tmp_path, capsys):  # noqa: F811
    (tmp_path / 'out').write_text('')
    assert run_command('predict', [str(folder), '--model', str(detector), '--out',
                                   str(tmp_path / 'out'), '--device', 'cpu']) == 2
    assert f'{tmp_path / "out"}' in capsys.readouterr().err


def test_ctrl_c_ends_the_files(folder, detector, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / 'out'
    (folder / 'b' / 'torn\x1b[2J.png').unlink()
    stream = Predictor.stream_pairs

    def stopping(self, pairs, on_error=None):
        for number, pair in enumerate(stream(self, pairs, on_error)):
            if number == 2:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(Predictor, 'stream_pairs', stopping)
    assert run_command('predict', [str(folder), '--model', str(detector), '--out', str(out),
                                   '--device', 'cpu']) == 130
    assert 'annotations' in json.loads((out / 'coco.json').read_text())


def test_after_long_work_on_a_cpu_faster_runtimes_are_named():
    hint = export_hint('my runs/fruit', 'cpu', 61.)
    assert "convnext-dense export 'my runs/fruit' --to openvino" in hint
    assert export_hint('fruit', 'cpu', 59.) is export_hint('fruit', 'cuda', 3600.) is None


def test_the_hint_ends_a_long_prediction(
        folder, detector, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(options, 'LONG', 0.)
    (folder / 'b' / 'torn\x1b[2J.png').unlink()
    assert run_command('predict', [str(folder), '--model', str(detector), '--out',
                                   str(tmp_path / 'out'), '--device', 'cpu']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == export_hint(str(detector), 'cpu', 1.)
