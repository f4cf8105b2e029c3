"""The other targets: OpenVINO in int8, packages of torch; what is refused, and what is kept."""
import json

import cv2
import numpy as np
import pytest

from convnext_dense import InputError, Predictor
from convnext_dense.commands.export import fastest
from convnext_dense.export import ExportOptions, export_model, exporting
from convnext_dense.export.checking import in_words
from convnext_dense.prediction.exported import CARD


def export(model, folder, **options):
    return export_model(model, folder, options=ExportOptions(**options), report=lambda line: None)


@pytest.mark.slow
def test_openvino_in_int8_says_what_it_costs(clear_segmenter, images, tmp_path):  # noqa: F811
    out, lines = tmp_path / 'out', []
    card = export_model(clear_segmenter, out, options=ExportOptions(
        'openvino', int8=True, normalise=True, images=[str(images[0])], count=1,
        calibration_count=2, evaluate=2), report=lines.append)
    assert sorted(path.name for path in out.iterdir()) == [
        'MODEL_CARD.md', 'model.bin', 'model.xml', CARD]
    assert card['precision'] == 'int8' and card['inputs'][0]['type'] == 'uint8'
    assert 'u8' in (out / 'model.xml').read_text() and 'FakeQuantize' in (
        out / 'model.xml').read_text()
    assert any(line.startswith('of the model and of the export: ') and 'mIoU' in line
               for line in lines)
    assert card == json.loads((out / CARD).read_text())
    assert Predictor(out)(images[0]).labels.shape == (64, 64)


@pytest.mark.slow
def test_windows_are_joined_outside_of_a_package_of_torch(  # noqa: F811
        clear_segmenter, images, tmp_path):
    import torch
    checkpoint = torch.load(clear_segmenter, weights_only=False)
    text = checkpoint['meta']['cfg']
    assert "mode='whole'" in text
    checkpoint['meta']['cfg'] = text.replace(
        "mode='whole'", "mode='slide', crop_size=(64, 64), stride=(40, 40)")
    model = tmp_path / 'slide.pth'
    torch.save(checkpoint, model)
    large = tmp_path / 'large.png'
    cv2.imwrite(str(large), cv2.resize(cv2.imread(str(images[0])), (320, 280)))
    with pytest.raises(InputError, match='windows are joined outside'):
        export(model, tmp_path / 'none', output='labels', images=[str(large)])
    card = export(model, tmp_path / 'out', target='torch', images=[str(large)], count=1)
    assert [spec['name'] for spec in card['outputs']] == ['logits']
    assert card['comparison']['equal_pixels'] >= .9999
    assert not (tmp_path / 'none').exists()
    with pytest.raises(InputError, match='a program, which runs when it is read'):
        Predictor(tmp_path / 'out')


@pytest.mark.slow
def test_a_compiled_package_computes_what_the_model_does(  # noqa: F811
        clear_segmenter, images, tmp_path):
    """By AOTInductor, in three sizes and two batches; it runs only where it was asked for."""
    card = export(clear_segmenter, tmp_path / 'out', target='aotinductor',
                  images=[str(images[0])], count=1)
    assert card['comparison']['equal'] and card['runtimes'] == ['aotinductor']
    assert 'aotinductor' in card['speed']['seconds']
    for runtime in (None, 'torch'):
        with pytest.raises(InputError, match='give --runtime aotinductor'):
            Predictor(tmp_path / 'out', runtime=runtime)
    result = Predictor(tmp_path / 'out', runtime='aotinductor')(images[0])
    expected = Predictor(clear_segmenter, device='cpu')(images[0])
    assert (result.labels == expected.labels).mean() >= .9999


def test_a_strangers_data_set_is_not_built(clear_segmenter, tmp_path):
    import torch
    checkpoint = torch.load(clear_segmenter, weights_only=False)
    text, ran = checkpoint['meta']['cfg'], tmp_path / 'ran'
    checkpoint['meta']['cfg'] = text + (
        f'\ntrain_dataloader = dict(dataset=dict(type="os.mkdir", path={str(ran)!r}))\n')
    model = tmp_path / 'model.pth'
    torch.save(checkpoint, model)
    with pytest.raises(InputError, match='train data of .* is none that reads COCO'):
        export(model, tmp_path / 'out', int8=True, evaluate=1)
    assert not ran.exists() and not (tmp_path / 'out').exists()


def test_refusals_are_one_line_and_leave_nothing(  # noqa: F811
        detector, clear_segmenter, exported_segmenter, images, tmp_path, monkeypatch):
    for model, options, message in (
            (detector, dict(target='torch'), 'operators of mmcv'),
            (detector, dict(target='tensorrt-onnx'), 'not been tried in TensorRT'),
            (detector, dict(output='labels'), 'a detector gives boxes'),
            (clear_segmenter, dict(images=['nowhere.png']), 'no such file'),
            (clear_segmenter, dict(data_root=str(tmp_path)), 'data')):
        with pytest.raises(InputError, match=message) as caught:
            export(model, tmp_path / 'out', **options)
        assert '\n' not in str(caught.value)
    with pytest.raises(InputError, match='give one of'):
        ExportOptions('tflite')
    with pytest.raises(InputError, match='NNCF quantises for onnx'):
        ExportOptions('torch', int8=True)
    with pytest.raises(InputError, match='is there already'):
        export(clear_segmenter, exported_segmenter)

    def fail(*arguments):
        (arguments[1].parent / 'half.onnx').write_text('half')
        raise InputError('stopped')
    monkeypatch.setattr(exporting, '_write', fail)
    with pytest.raises(InputError, match='stopped'):
        export(clear_segmenter, tmp_path / 'out')
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_differs_is_not_kept(  # noqa: F811
        clear_segmenter, images, tmp_path, monkeypatch):
    def write(network, path, options, described):
        network.model.decode_head.conv_seg.weight.neg_()
        written(network, path, options, described)
    written = exporting._write
    monkeypatch.setattr(exporting, '_write', write)
    with pytest.raises(InputError, match='gives other results than the model.*not kept'):
        export(clear_segmenter, tmp_path / 'out', target='torch', images=[str(images[0])], count=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('seconds, words', [
    (dict(torch=2., prepared=1., openvino=.5, **{'openvino bf16': .25}),
     'openvino bf16 is 4.00 times as fast as predict and test in torch: convnext-dense predict '
     'IMAGES --model out --runtime openvino --precision bf16'),
    (dict(torch=2., prepared=1., onnxruntime=1.5),
     'on this machine the model in torch is 1.50 times as fast as its exports')])
def test_the_last_line_offers_what_is_fastest(seconds, words):
    assert fastest(dict(speed=dict(seconds=seconds)), 'out') == words


def test_adaptive_pooling_is_torchs():
    import torch

    from convnext_dense.export.layers import AveragePool
    x = torch.randn(2, 3, 13, 7, generator=torch.Generator().manual_seed(0))
    for size in (1, 2, 3, 6, (5, 4)):
        torch.testing.assert_close(AveragePool(size)(x), torch.nn.AdaptiveAvgPool2d(size)(x))
    assert np.isclose(float(AveragePool(1)(x)[0, 0]), float(x[0, 0].mean()), atol=1e-6)


def test_a_comparison_of_no_object_says_so():
    cases = dict(images=1, sizes=[[64, 48]], batches=[1, 2])
    nothing = dict(objects=0, unmatched=0, box_difference=0., score_difference=0., cases=cases)
    assert in_words(nothing).startswith('no object could be compared, since the model finds none (')
    assert in_words(dict(nothing, unmatched=1)).startswith('0 objects, 1 without a partner')
