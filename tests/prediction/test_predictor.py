"""Predictor gives what a test gives, for every form of an image."""
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image
from prediction.samples import assert_same_instances, samples_of_test

from convnext_dense import InputError, Predictor


@pytest.fixture(scope='module')
def detect(detector):
    return Predictor(detector, device='cpu', threshold=0)


@pytest.fixture(scope='module')
def segment(segmenter):
    return Predictor(segmenter, device='cpu')


def same(first, second):
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_a_detector_predicts_what_its_test_gives(detect, detector, images):
    samples = samples_of_test(detector, detect.source)
    assert len(samples) == len(images) and sum(
        len(sample.pred_instances) for sample in samples.values())
    for result in detect([str(path) for path in images]):
        assert_same_instances(result, samples[result.path])


def test_a_segmenter_predicts_what_its_test_gives(segment, segmenter, images):
    samples = samples_of_test(segmenter, segment.source)
    assert len(samples) == len(images)
    for result in segment([str(path) for path in images]):
        expected = samples[result.path].pred_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(result.labels, expected)
        assert result.pixels.sum() == expected.size and result.names[0] == 'background'


def test_all_forms_of_an_image_give_the_same(detect, images):
    path = images[0]
    expected = detect(path)
    bgr = cv2.imread(str(path))
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    for form in (str(path), bgr, np.dstack([bgr, bgr[:, :, :1]]), bgr.astype(np.uint16) * 257,
                 Image.open(path), Image.open(path).convert('RGBA'), tensor, tensor / 255):
        same(detect(form), expected)
    assert expected.path == str(path) and detect(bgr).path is None


def test_lists_give_lists_and_generators_are_read_as_they_go(detect, images):
    assert [result.path for result in detect(images[:2])] == [str(path) for path in images[:2]]
    read = []

    def generate():
        for index in range(40):
            read.append(index)
            yield images[index % 4]

    results = detect(generate())
    assert not read
    next(results)
    assert 0 < len(read) < 10
    results.close()


def test_files_are_read_as_training_reads_them(detect, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / 'turned.jpg'
    Image.fromarray(noise).save(turned, exif=exif)
    deep = tmp_path / 'deep.png'
    cv2.imwrite(str(deep), noise.astype(np.uint16) * 256)
    alpha = tmp_path / 'alpha.png'
    cv2.imwrite(str(alpha), np.dstack([noise, noise[:, :, :1]]))
    grey = tmp_path / 'grey.png'
    cv2.imwrite(str(grey), noise[:, :, 0])
    for path in (turned, deep, alpha, grey):
        result = detect(path)
        np.testing.assert_array_equal(result.image, cv2.imread(str(path), cv2.IMREAD_COLOR))
        same(result, detect(result.image))
    assert detect(turned).size == (64, 40)
    same(detect(turned), detect(Image.open(turned)))
    same(detect(deep), detect(cv2.imread(str(deep), cv2.IMREAD_UNCHANGED)))
    same(detect(grey), detect(Image.open(grey)))


def test_batches_hold_images_of_one_size_and_keep_the_order(detector, detect, images):
    batched = Predictor(detector, device='cpu', threshold=0, batch_size=3)
    whole = cv2.imread(str(images[0]))
    mixed = [images[0], whole[:40], images[1], images[2], whole[:40], whole[:, :48]]
    sizes = []
    step = batched.model.test_step
    batched.model.test_step = lambda data: sizes.append(len(data['inputs'])) or step(data)
    for result, expected in zip(batched(mixed), detect(mixed), strict=True):
        assert result.size == expected.size and len(result) == len(expected)
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
    assert sizes == [1, 1, 2, 1, 1]
    sizes.clear()
    assert len(batched(images)) == 4 and sizes == [3, 1]


def test_the_threshold_leaves_out_lower_scores(detector, detect, images):
    every = detect(images[0])
    threshold = float(np.median(every.scores))
    fewer = Predictor(detector, device='cpu', threshold=threshold)(images[0])
    same(fewer, every.above(threshold))
    assert 0 < len(fewer) < len(every)


def test_an_image_that_cannot_be_read_is_named(detect, images, tmp_path):
    torn = tmp_path / 'torn.png'
    torn.write_bytes(images[0].read_bytes()[:200])
    with pytest.raises(InputError, match='torn.png'):
        detect([images[0], torn])
    with pytest.raises(InputError, match='none.jpg is missing'):
        detect(tmp_path / 'none.jpg')
    errors = []
    results = list(detect.stream([images[0], torn, images[1]],
                                 on_error=lambda image, error: errors.append((image, str(error)))))
    assert [result.path for result in results] == [str(images[0]), str(images[1])]
    assert errors[0][0] == torn and len(errors) == 1


@pytest.mark.parametrize('image, words', [
    (np.zeros((4, 4, 5), np.uint8), '5 channels'), (np.zeros((4, 4, 3)), 'float64'),
    (torch.full((3, 4, 4), 2.), 'from 2 to 2'), (torch.zeros(4, 4), r'\(4, 4\)'),
    (np.zeros((0, 4, 3), np.uint8), r'\(0, 4, 3\)'), (object(), 'is a object')])
def test_what_is_no_image_is_refused(detect, image, words):
    with pytest.raises(InputError, match=words):
        detect([image])


@pytest.mark.parametrize('options, words', [
    (dict(threshold=2), 'threshold 2'), (dict(batch_size=0), 'batch size 0'),
    (dict(tile=8), 'tile 8'), (dict(tile=64, overlap=.95), 'overlap 0.95'),
    (dict(device='tpu'), "device 'tpu'"), (dict(device='cuda:99'), 'cuda:99')])
def test_options_are_checked_before_anything_is_read(options, words):
    with pytest.raises(InputError, match=words):
        Predictor('nowhere', **options)


def test_threads_share_a_predictor(detect, images):
    expected = detect(images)
    results: dict = {}
    threads = [threading.Thread(target=lambda index=index: results.update(
        {index: detect(images)})) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for found in results.values():
        for result, wanted in zip(found, expected, strict=True):
            same(result, wanted)


def test_nothing_of_the_process_changes(detector, segmenter, images):
    DefaultScope._instance_dict.clear()
    DefaultScope.get_instance('own', scope_name='mmpretrain')
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    for folder in (detector, segmenter):
        Predictor(folder, device='cpu')(images[0])
    assert DefaultScope.get_current_instance().scope_name == 'mmpretrain'
    assert list(DefaultScope._instance_dict) == ['own']
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    DefaultScope._instance_dict.clear()


def test_tiles_see_the_whole_image_too(detector, segmenter, detect, images):
    image = cv2.resize(cv2.imread(str(images[0])), (400, 300))
    tiled = Predictor(detector, device='cpu', threshold=0, tile=160, overlap=.25)
    result = tiled(image)
    assert result.size == (300, 400) and len(result)
    assert (result.boxes >= 0).all() and (result.boxes <= [400, 300, 400, 300]).all()
    assert (np.diff(result.scores) <= 0).all() and result.masks.shape == (len(result), 300, 400)
    same(tiled(images[0]), detect(images[0]))  # smaller than a tile
    labels = Predictor(segmenter, device='cpu', tile=160)(image).labels
    plain = Predictor(segmenter, device='cpu')
    np.testing.assert_array_equal(labels[:100, :100], plain(image[:160, :160]).labels[:100, :100])


def test_every_way_to_name_a_model_leads_to_it(detector, detect, images):
    config, = detector.glob('*.py')
    for model, weights in ((config, detect.source), (detect.source, None),
                           (str(detector), detect.source)):
        predictor = Predictor(model, weights, device='cpu', threshold=0)
        assert predictor.names == detect.names and predictor.source == str(detect.source)
        same(predictor(images[0]), detect(images[0]))


def test_the_best_weights_of_a_work_directory_are_taken(detector, detect, tmp_path):
    best = tmp_path / 'best_coco_bbox_mAP_iter_1.pth'
    for name in ('iter_2.pth', best.name):
        (tmp_path / name).write_bytes(Path(detect.source).read_bytes())
    assert Predictor(tmp_path, device='cpu').source == str(best)
    best.write_bytes(best.read_bytes()[:5000])  # a kill tore it
    assert Predictor(tmp_path, device='cpu').source == str(tmp_path / 'iter_2.pth')


def test_weights_of_a_backbone_alone_are_refused(detector, tmp_path):
    config, = detector.glob('*.py')
    state = torch.load(detector / 'iter_2.pth', weights_only=False)['state_dict']
    torch.save({key.removeprefix('backbone.'): value for key, value in state.items()
                if key.startswith('backbone.')}, tmp_path / 'backbone.pth')
    with pytest.raises(InputError, match='backbone only'):
        Predictor(config, tmp_path / 'backbone.pth', device='cpu')


def test_in_bfloat16(segmenter, images):
    plain, ours = Predictor(segmenter), Predictor(segmenter, precision='bf16')
    assert torch.bfloat16 in {parameter.dtype for parameter in ours.model.parameters()}
    share = np.mean(plain(str(images[0])).labels == ours(str(images[0])).labels)
    assert share > .9
