"""The full check names every defect that is put into a good data set, and the exit status."""
import copy
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_data import coco_content, noise_image

from convnext_dense.checks.audit_config import as_dict, audit, summary
from convnext_dense.checks.findings import KINDS, Findings
from convnext_dense.checks.sheet import choose, colours
from convnext_dense.cli import run_command


def found(cfg, **kwargs):
    """Counts of each kind in every data set, as ``{'train': {'leakage': 1}}``."""
    reports, config, _ = audit(cfg, progress=False, **kwargs)
    counts = {report.split.name: dict(report.findings.counts) for report in reports}
    if config.counts:
        counts['config'] = dict(config.counts)
    return {name: count for name, count in counts.items() if count}


def run(tmp_path, cfg, *options):
    path = tmp_path / 'config.py'
    cfg.dump(str(path))
    return run_command('check_data', [str(path), '--out', str(tmp_path / 'out'), '--no-trial',
                                      *options])


# ---- good data


def test_good_data_sets_have_no_findings(coco, labels):
    assert found(coco.cfg) == {}
    assert found(labels.cfg) == {}


def test_the_command_writes_a_report_and_a_sheet_and_exits_with_0(coco, tmp_path, capsys):
    assert run(tmp_path, coco.cfg) == 0
    output = capsys.readouterr().out
    assert 'train: 3 images, 32x24 to 32x24; 6 instances (6 small, 0 medium' in output
    assert 'test has the same data as val: checked once' in output
    assert 'training can start' in output
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['can_train'] is True
    assert report['data_sets']['train']['classes'] == {
        'disc': dict(instances=3, images=3), 'box': dict(instances=3, images=3)}
    with Image.open(tmp_path / 'out/samples.jpg') as sheet:
        assert sheet.width > 1000


def test_masks_that_would_exhaust_the_memory_are_named_and_not_drawn(coco, tmp_path, capsys):
    first, second = coco.contents['train']['annotations'][:2]
    first['segmentation'] = [[1, 1, 10**15, 1, 10**15, 10**15]]
    second['segmentation'] = dict(size=[10**7, 10**7], counts=[10**14])
    coco.write('train', coco.contents['train'])
    run(tmp_path, coco.cfg)
    output = capsys.readouterr().out
    assert 'polygon-outside' in output and 'rle-invalid' in output
    assert (tmp_path / 'out/samples.jpg').exists()


def test_processes_find_the_same_as_one(coco, monkeypatch):
    monkeypatch.setattr('convnext_dense.checks.audit.IN_PROCESS', 1)
    (coco.root / 'train/2.jpg').write_bytes(b'no jpeg')
    expected = found(coco.cfg)
    assert expected == {'train': {'image-unreadable': 1}}
    assert found(coco.cfg, workers=2) == expected


# ---- a COCO file as a whole


def double_image_id(content):
    content['images'][1]['id'] = content['images'][0]['id']
    content['annotations'] = content['annotations'][:2]
    return {'duplicate-image-id': 1}


def double_annotation_id(content):
    content['annotations'][1]['id'] = content['annotations'][0]['id']
    return {'duplicate-annotation-id': 1}


def double_category(content):
    content['categories'].append(dict(id=3, name='box'))
    return {'duplicate-category': 1, 'category-order': 1}


def double_file(content):
    content['images'][1]['file_name'] = content['images'][0]['file_name']
    return {'duplicate-file-name': 1, 'duplicate-content': 1}


def unknown_ids(content):
    content['annotations'][0]['image_id'] = 99
    content['annotations'][3]['category_id'] = 99
    return {'unknown-image-id': 1, 'unknown-category-id': 1}


def no_instances_of_a_class(content):
    content['annotations'] = [annotation for annotation in content['annotations']
                              if annotation['category_id'] == 1]
    return {'class-without-instances': 1}


def other_order(content):
    content['categories'].reverse()
    return {'category-order': 1}


def other_classes(content):
    content['categories'][0]['name'] = 'cone'
    return {'config': 1, 'class-without-instances': 1}


def nothing_usable(content):
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    return {'config': 1, 'class-without-instances': 2}


def wrong_size(content):
    content['images'][0].update(width=64, height=48)
    return {'image-size': 1}


def bad_instances(content):
    content['annotations'][0]['bbox'] = [30, 3, 8, 8]
    content['annotations'][1]['bbox'][2] = 0
    return {'box-outside': 1, 'mask-off-box': 1, 'box-empty': 1}


@pytest.mark.parametrize('spoil', [
    double_image_id, double_annotation_id, double_category, double_file, unknown_ids,
    no_instances_of_a_class, other_order, other_classes, nothing_usable, wrong_size,
    bad_instances])
def test_a_spoilt_annotation_file(coco, spoil):
    content = coco_content()
    expected = spoil(content)
    coco.write('train', content)
    assert found(coco.cfg) == {'train': expected}


def test_masks_are_asked_for_only_where_the_pipeline_loads_them(coco):
    content = coco_content()
    del content['annotations'][0]['segmentation']
    coco.write('train', content)
    assert found(coco.cfg) == {}
    coco.cfg.train_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True)]
    assert found(coco.cfg) == {'train': {'mask-missing': 1}}


# ---- images


def test_missing_broken_and_cut_off_images(coco):
    (coco.root / 'train/1.jpg').unlink()
    (coco.root / 'train/2.jpg').write_bytes(b'no jpeg')
    path = coco.root / 'train/3.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    assert found(coco.cfg) == {'train': {'image-missing': 1, 'image-unreadable': 2}}


def test_a_image_that_is_loaded_rotated(coco):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise_image(1).save(coco.root / 'train/1.jpg', exif=exif)
    exif[0x0112] = 3
    noise_image(2).save(coco.root / 'train/2.jpg', exif=exif)
    reports, _, _ = audit(coco.cfg, progress=False)
    assert reports[0].findings.counts == {'image-size': 1, 'image-rotated': 1}
    assert '1.jpg has 24x32 pixels, its annotation says 32x24' in \
        reports[0].findings.examples['image-size'][0]


def test_the_same_pixels_in_train_and_val_are_leakage_whatever_the_file(labels):
    with Image.open(labels.root / 'images/training/0.jpg') as copy:
        copy.load()
    for split in ('training', 'validation'):  # two files of the same pixels
        copy.save(labels.root / f'images/{split}/copy.png', compress_level=len(split) % 9)
        (labels.root / f'images/{split}/copy.png').rename(labels.root / f'images/{split}/c.jpg')
        labels.write(split, 'c', [0, 1])
    assert found(labels.cfg) == {'train': {'duplicate-content': 1}, 'val': {'leakage': 1}}


def test_a_copy_of_other_quality_in_train_and_val_looks_alike(labels):
    from test_similar import scene
    scene(0).save(labels.root / 'images/training/0.jpg')
    scene(0).save(labels.root / 'images/validation/10.jpg', quality=30)
    for split, name in (('training', 0), ('validation', 10)):
        Image.fromarray(np.ones((240, 320), np.uint8)).save(
            labels.root / f'annotations/{split}/{name}.png')
    assert found(labels.cfg) == {'val': {'look-alike': 1}}


def test_testing_on_val_is_no_leakage_but_training_on_val_is(coco):
    coco.cfg.test_dataloader = copy.deepcopy(coco.cfg.val_dataloader)
    coco.cfg.test_dataloader.dataset.metainfo.classes = ('disc', )  # so it is checked by itself
    assert found(coco.cfg).keys() == {'config'}  # the heads have two classes
    for key in ('ann_file', 'data_prefix'):
        coco.cfg.train_dataloader.dataset[key] = coco.cfg.val_dataloader.dataset[key]
    counts = found(coco.cfg)
    assert counts['val'] == counts['test'] == {'leakage': 2}


# ---- label maps


def test_spoilt_label_maps(labels):
    folder = labels.root / 'annotations/training'
    labels.write('training', 0, [0, 1, 9])
    noise_image(0).save(folder / '1.png')
    Image.fromarray(np.zeros((24, 16), np.uint8)).save(folder / '2.png')
    labels.write('training', 'alone', [0])
    for name, values in (('3', [255]), ('4', None)):
        noise_image(int(name) + 20).save(labels.root / f'images/training/{name}.jpg')
        if values:
            labels.write('training', name, values)
    assert found(labels.cfg) == {'train': {
        'label-values': 1, 'map-unreadable': 1, 'map-size': 1, 'map-without-image': 1,
        'map-ignored': 1, 'map-missing': 1}}


def test_labels_of_16_bits_are_outside_the_classes(labels):
    values = np.full((24, 32), 256, np.uint16)
    Image.fromarray(values).save(labels.root / 'annotations/training/0.png')
    assert found(labels.cfg) == {'train': {'label-values': 1}}


def test_reduce_zero_label_set_wrongly(labels):
    labels.cfg.train_dataloader.dataset.reduce_zero_label = True
    counts = found(labels.cfg)
    assert counts == {'train': {'config': 1, 'class-without-instances': 1}}


def test_a_test_on_the_data_of_the_validation_has_settings_of_its_own(labels):
    labels.cfg.test_dataloader.dataset.reduce_zero_label = True
    reports, findings, notes = audit(labels.cfg, progress=False)
    assert 'test has the same data as val: checked once' in notes
    assert not summary(reports, findings, notes)[1]
    assert any(text.startswith('test_dataloader: ') for text in findings.examples['config'])


def test_the_balance_of_labels(labels):
    labels.write('training', 0, [1])
    reports, _, _ = audit(labels.cfg, progress=False)
    third = 24 * 32 // 3
    assert reports[0].classes == {'disc': dict(pixels=2 * third, images=2, share=.285714),
                                  'box': dict(pixels=5 * third, images=3, share=.714286)}
    assert reports[0].statistics['ignored_share'] == round(2 / 9, 6)


def test_the_balance_with_reduced_zero_and_a_subset_of_the_classes(labels):
    """ADE20K's own 150 classes, of which a config keeps two."""
    dataset = labels.cfg.train_dataloader.dataset
    dataset.type = 'ADE20KDataset'
    dataset.metainfo.classes = ('sky', 'wall')
    for number in range(3):
        labels.write('training', number, [0, 1, 3, 150])
    reports, _, _ = audit(labels.cfg, progress=False)
    assert {name: count['pixels'] for name, count in reports[0].classes.items()} == {
        'sky': 3 * 6 * 32, 'wall': 3 * 6 * 32}


# ---- the config


def test_what_does_not_fit_the_config_is_an_error(coco, tmp_path, capsys):
    coco.cfg.model.neck.in_channels = [96, 192, 384, 768]
    shutil.rmtree(coco.root / 'val')
    assert run(tmp_path, coco.cfg) == 1
    output = capsys.readouterr().out
    assert 'model.neck.in_channels=[96, 192, 384, 768] does not fit' in output
    assert 'error: 2 images that are not there [image-missing]' in output
    assert 'training cannot start' in output
    assert json.loads((tmp_path / 'out/report.json').read_text())['can_train'] is False


def test_a_missing_data_root_is_reported(coco, tmp_path, capsys):
    assert run(tmp_path, coco.cfg, '--data-root', str(tmp_path / 'none')) == 1
    assert f'the data root {tmp_path}/none/ does not exist' in capsys.readouterr().out


def test_fast_runs_what_train_runs(coco, tmp_path, capsys):
    assert run(tmp_path, coco.cfg, '--fast') == 0
    (coco.root / 'val/10.jpg').unlink()
    assert run(tmp_path, coco.cfg, '--fast') == 2
    assert '1 of 2 images are missing' in capsys.readouterr().err


def test_an_unwritable_report_folder_is_named(coco, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert run(tmp_path, coco.cfg, '--out', str(tmp_path / 'file/out')) == 2
    assert 'choose another folder with --out' in capsys.readouterr().err


# ---- the report


def test_findings_count_all_and_keep_the_first_ten():
    findings = Findings(('leakage', str(number)) for number in range(50))
    findings.add('box-empty', 'x')
    assert findings.count('error') == 50 and findings.count('warning') == 1
    assert findings.as_dict()['leakage']['examples'] == [str(number) for number in range(10)]
    lines = list(findings.lines())
    assert lines[0].startswith('  error: 50 images with the same pixels in two splits')
    assert lines[4].strip() == 'and 47 more'
    with pytest.raises(KeyError):
        findings.add('unknown', '')


def test_every_kind_is_an_error_or_a_warning():
    assert {severity for severity, _ in KINDS.values()} == {'error', 'warning'}


def test_the_table_of_many_classes_is_shortened_on_the_screen_only(labels):
    dataset = labels.cfg.train_dataloader.dataset
    dataset.metainfo.classes = tuple(f'class{number}' for number in range(100))
    reports, config, notes = audit(labels.cfg, progress=False)
    lines, _ = summary(reports, config, notes)
    assert '  ... 70 more' in lines
    assert len(as_dict(reports, config, notes)['data_sets']['train']['classes']) == 100


# ---- the sheet


def test_colours_are_distinct():
    assert len({tuple(colour) for colour in colours(150).round().astype(int)}) > 140


def test_the_choice_depends_on_the_seed_only(coco):
    tasks = audit(coco.cfg, progress=False)[0][0].tasks
    assert choose(tasks, 2, seed=1) == choose(tasks, 2, seed=1)
    assert len(choose(tasks, 10)) == 3


def test_the_sheet_shows_boxes_masks_and_labels_where_they_are(coco, labels, tmp_path):
    from convnext_dense.checks.sheet import _tile
    report = audit(coco.cfg, progress=False)[0][0]
    palette = np.array([[255., 0, 0], [0, 0, 255.]])
    tile, present = _tile(report.tasks[0], report.split.classes, palette)
    assert present == {0, 1} and tile.size == (360, 270)
    scale = 360 / 32
    red, green, blue = tile.getpixel((int(8 * scale), int(8 * scale)))  # inside the disc
    assert red > 127
    assert tile.getpixel((round(2 * scale), int(6 * scale))) == (255, 0, 0)  # its box
    report = audit(labels.cfg, progress=False)[0][0]
    tile, present = _tile(report.tasks[0], report.split.classes, palette)
    assert present == {0, 1}
    assert tile.getpixel((100, 20))[0] > 127 and tile.getpixel((100, 120))[2] > 127
    assert max(tile.getpixel((100, 260))) < 110  # ignored pixels are dark
