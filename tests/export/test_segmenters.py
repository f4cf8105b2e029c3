"""A segmenter as ONNX: the same label maps as the model's, in any size and batch."""
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from convnext_dense import InputError, Predictor
from convnext_dense.cli import run_command
from convnext_dense.export.card import markdown
from convnext_dense.prediction.exported import CARD


def test_the_card_says_what_was_compared(exported_segmenter):
    card = json.loads((exported_segmenter / CARD).read_text())
    assert [spec['name'] for spec in card['inputs']] == ['images', 'size']
    assert card['outputs'][0]['name'] == 'labels'
    found = card['comparison']
    assert found['equal'] and found['equal_pixels'] >= .9999
    assert found['cases']['sizes'] == [[32, 32], [48, 48], [64, 64]]
    assert found['cases']['batches'] == [1, 2]
    assert {'torch', 'prepared', 'onnxruntime', 'openvino'} <= set(card['speed']['seconds'])
    assert 'licence' in (exported_segmenter / 'MODEL_CARD.md').read_text().lower()


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('size', [(64, 64), (45, 83), (200, 130)])
def test_label_maps_equal_the_models(exported_segmenter, clear_segmenter, images, runtime, size):  # noqa: F811
    image = cv2.resize(cv2.imread(str(images[0])), size)
    pair = [image, np.ascontiguousarray(image[::-1])]
    expected = Predictor(clear_segmenter, device='cpu', batch_size=2)(pair)
    exported = Predictor(exported_segmenter, runtime=runtime, batch_size=2)
    assert exported.task == 'labels' and len(np.unique(expected[0].labels)) > 1
    for ours, theirs in zip(exported(pair), expected):
        assert ours.labels.shape == theirs.labels.shape == size[::-1]
        assert (ours.labels == theirs.labels).mean() >= .9999
        assert ours.labels.dtype == theirs.labels.dtype and ours.names == theirs.names


def test_predict_takes_an_export(exported_segmenter, clear_segmenter, images, tmp_path):  # noqa: F811
    for name, options in (('torch', []), ('ort', ['--runtime', 'onnxruntime'])):
        model = exported_segmenter if options else clear_segmenter
        assert run_command('predict', [str(images[0].parent), '--model', str(model), '--out',
                                       str(tmp_path / name), '--device', 'cpu', *options]) == 0
    files = sorted(path.relative_to(tmp_path / 'torch')
                   for path in (tmp_path / 'torch').rglob('*.png'))
    assert files
    for file in files:
        ours, theirs = (cv2.imread(str(tmp_path / name / file)) for name in ('ort', 'torch'))
        assert (ours == theirs).mean() > .999


def test_the_cards_program_runs(exported_segmenter, clear_segmenter, images, tmp_path):  # noqa: F811
    text = (exported_segmenter / 'MODEL_CARD.md').read_text()
    program = text.split('```python\n')[1].split('```')[0]
    (tmp_path / 'photo.jpg').write_bytes(images[0].read_bytes())  # the content says what it is
    program = program.replace("'model.onnx'", repr(str(exported_segmenter / 'model.onnx')))
    program += "\nnp.save('labels.npy', results['labels'])\n"
    subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
    expected = Predictor(clear_segmenter, device='cpu')(images[0]).labels
    assert (np.load(tmp_path / 'labels.npy')[0] == expected).mean() >= .9999


def test_what_does_not_fit_is_refused(exported_segmenter, segmenter, tmp_path):  # noqa: F811
    with pytest.raises(InputError, match='is no export'):
        Predictor(segmenter, runtime='openvino')
    with pytest.raises(InputError, match='is not for torch'):
        Predictor(exported_segmenter, runtime='torch')
    with pytest.raises(InputError, match='no operators in bf16'):
        Predictor(exported_segmenter, precision='bf16')
    with pytest.raises(InputError, match='sides from 32 pixels on'):
        Predictor(exported_segmenter)(np.zeros((20, 300, 3), np.uint8))


def test_a_flipped_bit_of_an_export_is_found(exported_segmenter, tmp_path):
    shutil.copytree(exported_segmenter, tmp_path / 'export')
    Predictor(tmp_path / 'export')
    path = tmp_path / 'export' / 'model.onnx'
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(data)
    with pytest.raises(InputError, match='model.onnx is damaged: its SHA-256'):
        Predictor(tmp_path / 'export')


@pytest.mark.parametrize('change', [
    lambda card: card.pop('task'), lambda card: card.pop('classes'),
    lambda card: card.update(classes=5), lambda card: card.update(outputs=None),
    lambda card: card.update(sha256=[1]), lambda card: card.update(file=[1])])
def test_an_odd_card_is_one_line(change, exported_segmenter, tmp_path):
    shutil.copytree(exported_segmenter, tmp_path / 'export')
    card = json.loads((tmp_path / 'export' / CARD).read_text())
    change(card)
    (tmp_path / 'export' / CARD).write_text(json.dumps(card))
    with pytest.raises(InputError, match=f'{tmp_path}/export.*export the model again'):
        Predictor(tmp_path / 'export')


def test_names_in_a_card_are_no_markup(exported_segmenter):
    card = json.loads((exported_segmenter / CARD).read_text())
    text = markdown(dict(card, classes=['<script>x', 'a\x1b[2Jb']))
    assert '<script>' not in text and '\x1b' not in text and '&lt;script>x' in text
