"""What supervision's exporters write is read as supervision holds it."""
import numpy as np
import pytest
from scene import CLASSES, SCENE, write_images

from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source

sv = pytest.importorskip('supervision', reason='supervision is not installed')


@pytest.fixture
def data_set(tmp_path):
    """The scene as supervision's data set, of boxes."""
    write_images(tmp_path / 'images')
    annotations = {}
    for name, things in SCENE.items():
        boxes = [(x, y, x + w, y + h) for thing in things for x, y, w, h in [thing.box]]
        annotations[str(tmp_path / 'images' / name)] = sv.Detections(
            xyxy=np.array(boxes, float),
            class_id=np.array([CLASSES.index(thing.name) for thing in things]))
    return sv.DetectionDataset(list(CLASSES), list(annotations), annotations)


@pytest.mark.parametrize('export', ['coco', 'yolo', 'voc'])
def test_boxes_are_those_that_supervision_holds(export, data_set, tmp_path):
    out = tmp_path / 'exported'
    if export == 'coco':
        data_set.as_coco(str(out / 'images'), str(out / 'annotations.json'))
    elif export == 'yolo':
        data_set.as_yolo(str(out / 'images'), str(out / 'labels'), str(out / 'data.yaml'))
    else:
        data_set.as_pascal_voc(str(out / 'images'), str(out / 'annotations'))
    source = read_source(out)
    check_source(source)
    read = {image.name: [(one.name, one.box) for one in image.instances]
            for image in source.images}
    assert read == {name: [(thing.name, pytest.approx(thing.box, abs=1e-3)) for thing in things]
                    for name, things in SCENE.items()}
