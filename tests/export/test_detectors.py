"""Detectors as one network, and as one ONNX file: the boxes, scores and masks of the model."""
import json

import cv2
import numpy as np
import pytest
import torch
from export.networks import compare_with_mmdet, dino, mask_rcnn, network_of, rtmdet

from convnext_dense import InputError, Predictor
from convnext_dense.export.checking import differences
from convnext_dense.export.tracing import trace, write_onnx
from convnext_dense.prediction.exported import CARD
from convnext_dense.prediction.runtimes import open_session

KINDS = [(rtmdet, [(64, 96), (128, 64)]), (mask_rcnn, [(64, 96), (101, 70), (130, 64)]),
         (lambda: mask_rcnn(masks=False), [(75, 64)]), (dino, [(96, 128), (101, 130)])]


def is_equal(found):
    return found['objects'] > 10 and not found['unmatched'] and \
        found['box_difference'] <= .01 and found['score_difference'] <= 1e-4


@pytest.mark.parametrize('build, sizes', KINDS, ids=['rtmdet', 'mask-rcnn', 'faster-rcnn', 'dino'])
def test_the_network_computes_what_mmdet_does(build, sizes):
    model = build()
    network, described = network_of(model)
    assert described['task'] == 'instances'
    with torch.no_grad():
        found = compare_with_mmdet(model, network, sizes)
    assert is_equal(found), found


@pytest.mark.slow
@pytest.mark.parametrize('build, sizes', [*KINDS[:2], KINDS[3]],
                         ids=['rtmdet', 'mask-rcnn', 'dino'])
def test_one_file_computes_it_in_both_runtimes(build, sizes, tmp_path):
    from convnext_dense.export.operators import translations
    model = build()
    network, described = network_of(model)
    program = trace(network, [torch.randn(2, 3, 160, 192)],
                    described['network'].get('multiple', 1), described['network']['least_side'])
    outputs = tuple(spec['name'] for spec in described['outputs'])
    write_onnx(program, tmp_path / 'model.onnx', ['images'], outputs, translations())
    for runtime in ('onnxruntime', 'openvino'):
        session = open_session(tmp_path / 'model.onnx', runtime, 1, outputs=outputs)

        def run(images, session=session):
            return session(dict(images=images.numpy())).values()
        found = compare_with_mmdet(model, run, sizes)
        assert is_equal(found), (runtime, found)


def test_parts_that_compute_in_another_way_are_refused():
    model = mask_rcnn()
    model.roi_head.test_cfg.nms = dict(type='soft_nms', iou_threshold=.5)
    with pytest.raises(InputError, match='ONNX has hard NMS'):
        network_of(model)
    model = mask_rcnn()
    model.roi_head.bbox_head.loss_cls.custom_activation = True
    with pytest.raises(InputError, match='Shared2FCBBoxHead.*in a way of its own'):
        network_of(model)
    model = dino()
    model.data_preprocessor.pad_size_divisor = 32
    with pytest.raises(InputError, match='pad_size_divisor=32: DINO is exported for'):
        network_of(model)


def test_a_model_is_built_again_from_its_config():
    """As an export does; mmdet's transformers write into the settings of their heads."""
    from mmengine.registry import MODELS

    from convnext_dense.config import load_config
    from convnext_dense.prediction.building import build
    cfg = load_config('examples/dino_convnextv2-atto_pennfudan.py')
    cfg.model.update(encoder=dict(cfg.model.encoder, num_layers=1),
                     decoder=dict(cfg.model.decoder, num_layers=1))
    before = cfg.model.to_dict()
    with torch.device('meta'):
        for _ in range(2):
            build(MODELS, cfg.model, cfg)
    assert cfg.model.to_dict() == before


@pytest.mark.slow
def test_the_card_says_what_was_compared(exported_detector):
    card = json.loads((exported_detector / CARD).read_text())
    assert [spec['name'] for spec in card['outputs']] == [
        'boxes', 'scores', 'labels', 'image', 'masks']
    found = card['comparison']
    assert found['equal'] and found['objects'] > 0 and not found['unmatched']


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('size', [(64, 64), (45, 83), (200, 130)])
def test_objects_equal_the_models(exported_detector, detector, images, runtime, size):  # noqa: F811
    image = cv2.resize(cv2.imread(str(images[0])), size)
    pair = [image, np.ascontiguousarray(image[::-1])]
    expected = Predictor(detector, device='cpu', threshold=0, batch_size=2)(pair)
    exported = Predictor(exported_detector, threshold=0, runtime=runtime, batch_size=2)
    for ours, theirs in zip(exported(pair), expected):
        found = differences(theirs, ours)
        assert found['objects'] and not found['unmatched'], found
        assert found['box_difference'] <= .01 and found['score_difference'] <= 1e-4, found
        assert found['equal_mask_pixels'] > .99
