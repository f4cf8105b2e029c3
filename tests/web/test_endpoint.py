"""POST an image, get what the predictor gives; whatever else is sent gets one line."""
import base64

import cv2
import numpy as np
import pytest
from pycocotools.mask import decode
from web.standing import Failing, OneObject, standing

from benchmarks.uploads import Upload, ask, bad_uploads, encoded, good_uploads, png, upright
from convnext_dense.web.app import Limits
from convnext_dense.web.serving import ServedModel

ANY = good_uploads()[0]


def upload_of(path):
    return Upload(path.name, path.read_bytes(), (200, ))


def masks_of(answer):
    return [decode(one['mask']).astype(bool) for one in answer['objects']]


def test_a_detector_answers_what_its_predictor_gives(server, trained, images):
    for path in images:
        answer = ask(server.url, upload_of(path), threshold=0).json
        expected = trained[0].predictor(path)
        order = np.argsort(-expected.scores, kind='stable')
        assert len(expected) and answer['task'] == 'instances' and answer['threshold'] == 0
        assert answer['image'] == dict(name=path.name, width=64, height=64)
        assert [one['score'] for one in answer['objects']] == expected.scores[order].tolist()
        assert [one['box'] for one in answer['objects']] == expected.boxes[order].tolist()
        assert [one['label'] for one in answer['objects']] == expected.labels[order].tolist()
        assert [one['name'] for one in answer['objects']] == [
            expected.class_names[index] for index in order]
        np.testing.assert_array_equal(masks_of(answer), expected.masks[order])
        assert [one['area'] for one in answer['objects']] == [
            int(expected.masks[index].sum()) for index in order]
        assert answer['label_map'] is answer['preview'] is None and answer['seconds'] > 0


def test_a_segmenter_answers_what_its_predictor_gives(server, trained, images):
    for path in images:
        answer = ask(server.url, upload_of(path), model='segmenter', label_map=True).json
        expected = trained[1].predictor(path)
        labels = cv2.imdecode(np.frombuffer(base64.b64decode(answer['label_map']), np.uint8),
                              cv2.IMREAD_UNCHANGED)
        assert labels.dtype == expected.labels.dtype
        np.testing.assert_array_equal(labels, expected.labels)
        assert answer['task'] == 'labels' and answer['threshold'] is None
        assert [one['name'] for one in answer['objects']] == expected.class_names
        for one, mask in zip(answer['objects'], masks_of(answer)):
            np.testing.assert_array_equal(mask, expected.labels == one['label'])
            assert one['score'] is None and one['area'] == mask.sum()
            rows, columns = np.nonzero(mask)
            assert one['box'] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_threshold_leaves_out_objects_below_it(server, trained, images):
    scores = trained[0].predictor(images[0]).scores
    threshold = float(np.median(scores))
    answer = ask(server.url, upload_of(images[0]), threshold=threshold).json
    assert 0 < len(answer['objects']) == (scores >= threshold).sum() < len(scores)


def test_without_a_threshold_the_servers_own_holds():
    with standing([ServedModel('one', OneObject())], Limits(threshold=.9)) as server:
        assert ask(server.url, ANY).json['objects'] == []
        assert len(ask(server.url, ANY, threshold=.8).json['objects']) == 1
        refused = ask(server.url, ANY, threshold=.01)
        assert refused.status == 422
        assert refused.json['detail'].startswith('threshold: Input should be greater than')


def test_what_is_served_is_described(server, trained):
    answer = ask(server.url, path='/api/models').json
    assert [(model['name'], model['task']) for model in answer['models']] == [
        ('detector', 'instances'), ('segmenter', 'labels')]
    assert [one['name'] for one in answer['models'][0]['classes']] == list(
        trained[0].predictor.names)
    assert answer['lowest'] == 0 and answer['max_pixels'] == 25_000_000


def test_every_kind_of_image_is_predicted_as_people_see_it(server):
    """Turned by EXIF, transparent, animated, of 16 bits, grey, with a palette, CMYK."""
    for upload in good_uploads():
        answer = ask(server.url, upload, preview=True)
        assert answer.status == 200, (upload.name, answer)
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(answer.json['preview']), np.uint8),
                             cv2.IMREAD_COLOR)[:, :, ::-1]
        expected = upright(upload)
        size = answer.json['image']
        assert (size['height'], size['width']) == shown.shape[:2] == expected.shape[:2], upload.name
        # pillow reads these two otherwise
        if upload.name not in ('sixteen.png', 'cmyk.jpg'):
            seen, right = (cv2.resize(pixels, (12, 12), interpolation=cv2.INTER_AREA).astype(int)
                           for pixels in (shown, expected))  # without the noise of few colours
            assert np.abs(seen - right).mean() < 5, upload.name


@pytest.mark.parametrize('upload', bad_uploads(), ids=lambda one: repr(one.name))
def test_a_bad_upload_is_refused_in_one_line_that_names_it(server, upload):
    answer = ask(server.url, upload)
    assert answer.status in upload.statuses
    detail = answer.json['detail'] if answer.status != 200 else upload.name
    assert detail.isprintable() and str(server.app.state.uploads) not in detail
    assert upload.name.split('/')[-1][:4] in detail or '\n' in upload.name
    assert server.uploads() == []
    assert ask(server.url, ANY).status == 200


def test_the_kind_of_refusal_is_its_status(server):
    bad = {upload.name: upload for upload in bad_uploads()}
    statuses = {name: ask(server.url, bad[name]).status for name in (
        'text.png', 'bomb.png', 'cut.jpg')}
    assert statuses == {'text.png': 415, 'bomb.png': 413, 'cut.jpg': 422}


def test_other_mistakes_are_one_line_too(server):
    assert ask(server.url, ANY, model='swin').status == 404
    assert ask(server.url, ANY, model='swin').json['detail'] == (
        "there is no model 'swin' here, but detector and segmenter")
    assert ask(server.url, method='POST').json['detail'] == 'image: Field required'
    assert ask(server.url, ANY, threshold='high').json['detail'].startswith('threshold: Input')
    assert ask(server.url, path='/api/predict').status == 405
    assert ask(server.url, path='/nothing').json == dict(detail='Not Found')
    assert ask(server.url, path='/static/../app.py').status == 404


def test_an_error_of_the_model_is_one_line_and_the_next_image_is_predicted():
    with standing([ServedModel('one', Failing())]) as server:
        answer = ask(server.url, Upload('a.png', png(9, 13, 13), ()))
        assert answer.status == 500
        assert answer.json['detail'].startswith('the server failed: RuntimeError: a fault (')
        assert '\n' not in answer.json['detail']
        assert ask(server.url, ANY).status == 200


def test_the_schema_is_complete_and_nothing_is_loaded_from_elsewhere(server):
    schema = ask(server.url, path='/api/openapi.json').json
    assert set(schema['paths']) == {'/api/models', '/api/predict'}
    form = schema['paths']['/api/predict']['post']
    assert [one['name'] for one in form['parameters']] == [
        'model', 'threshold', 'label_map', 'preview']
    assert set(form['responses']) == {'200', '404', '408', '413', '415', '422', '503'}
    found = schema['components']['schemas']['Found']['properties']
    assert set(found) == {'label', 'name', 'score', 'box', 'area', 'mask'}
    for path in ('/docs', '/redoc'):
        assert ask(server.url, path=path).status == 404


def test_a_preview_has_sides_of_at_most_4096_pixels():
    wide = Upload('wide.png', encoded(np.zeros((50, 5000, 3), np.uint8), 'PNG'), (200, ))
    with standing([ServedModel('one', OneObject())]) as server:
        answer = ask(server.url, wide, preview=True).json
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(answer['preview']), np.uint8), 1)
    assert answer['image']['width'] == 5000 and shown.shape[:2] == (41, 4096)
