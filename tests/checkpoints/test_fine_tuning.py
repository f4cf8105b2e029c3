"""Starting from other classes: every kind of layer with rows of classes, and what is refused."""
import copy

import pytest
import torch
from tiny_weights import convnext, randomise
from torch import nn

from convnext_dense.checkpoints import load_weights
from convnext_dense.checkpoints.fine_tuning import classes_of, plan_fine_tuning
from convnext_dense.errors import InputError

OLD, NEW = ('apple', 'kiwi', 'orange'), ('mango', 'Orange', 'plum', 'apple')


def model(layers, seed):
    """A backbone and layers by their names in mmdet's and mmseg's models."""
    whole = nn.Module()
    whole.backbone = convnext()
    whole.neck = nn.Conv2d(8, 8, 1)
    for name, layer in layers.items():
        *path, last = name.split('.')
        parent = whole
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, layer)
    return randomise(whole, seed)


def heads(classes):
    """Rows of each layer: {name: (layer, rows a class, rows for the background)}."""
    return {
        'roi_head.bbox_head.0.fc_cls': (nn.Linear(3, classes + 1), 1, 1),
        'roi_head.bbox_head.0.fc_reg': (nn.Linear(3, 4 * classes), 4, 0),
        'roi_head.mask_head.conv_logits': (nn.Conv2d(3, classes, 1), 1, 0),
        'bbox_head.cls_branches.2': (nn.Linear(3, classes), 1, 0),
        'dn_query_generator.label_embedding': (nn.Embedding(classes, 3), 1, 0),
        'panoptic_head.cls_embed': (nn.Linear(3, classes + 1), 1, 1),
        'decode_head.conv_seg': (nn.Conv2d(3, classes, 1), 1, 0),
        'bbox_head.rtm_cls.1': (nn.Conv2d(3, classes, 1), 1, 0),
        'bbox_head.multi_level_conv_cls.0': (nn.Conv2d(3, classes, 1), 1, 0)}


@pytest.mark.parametrize('name', heads(1))
def test_rows_of_classes_are_matched_by_name(name):
    old = model({name: heads(len(OLD))[name][0]}, 1)
    new = model({name: heads(len(NEW))[name][0]}, 2)
    _, width, background = heads(1)[name]
    before = {key: value.clone() for key, value in new.state_dict().items()}
    plan = plan_fine_tuning(new.state_dict(), old.state_dict(), NEW, OLD, 'the file')
    assert plan.kept == ['Orange', 'apple'] and plan.fresh == ['mango', 'plum']
    assert not plan.started and not plan.left
    for kind in ('weight', 'bias'):
        key = f'{name}.{kind}'
        if key not in plan.tensors:
            assert kind == 'bias' and 'embedding' in name
            continue
        expected = before[key].clone()
        source = old.state_dict()[key]
        for row, place in ((1, 2), (3, 0)):
            expected[row * width:(row + 1) * width] = source[place * width:(place + 1) * width]
        if background:
            expected[-1] = source[-1]
        assert torch.equal(plan.tensors[key], expected)
    assert torch.equal(plan.tensors['neck.weight'], old.neck.weight)
    assert len(plan.tensors) == len(before)


def test_the_line_says_what_came_from_where():
    layers = {'roi_head.bbox_head.fc_cls': nn.Linear(3, 4)}
    more = {**layers, 'roi_head.mask_head.conv': nn.Conv2d(1, 1, 1)}
    plan = plan_fine_tuning(model(more, 2).state_dict(), model(layers, 1).state_dict(),
                            ('apple', 'orange', 'mango'), OLD, 'the file')
    assert str(plan) == (f'{len(plan.tensors)} tensors loaded, 2 start fresh '
                         '(roi_head.mask_head.conv.weight, roi_head.mask_head.conv.bias); of 3 '
                         'classes 2 from the file (apple, orange), 1 fresh (mango)')


def test_the_same_number_of_other_classes_is_not_taken_as_it_is():
    layers = {'decode_head.conv_seg': nn.Conv2d(3, 3, 1)}
    old, new = model(layers, 1), model({'decode_head.conv_seg': nn.Conv2d(3, 3, 1)}, 2)
    classes = ('orange', 'fig', 'apple')
    plan = plan_fine_tuning(new.state_dict(), old.state_dict(), classes, OLD, 'the file')
    rows = plan.tensors['decode_head.conv_seg.bias']
    assert torch.equal(rows[[0, 2]], old.decode_head.conv_seg.bias[[2, 0]])
    assert torch.equal(rows[1], new.decode_head.conv_seg.bias[1])


def test_without_names_layers_of_classes_start_fresh():
    layers = {'decode_head.conv_seg': nn.Conv2d(3, 3, 1)}
    plan = plan_fine_tuning(model(layers, 2).state_dict(), model(layers, 1).state_dict(), OLD, None,
                            'the file')
    assert plan.started == ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias']
    assert not plan.kept and not plan.fresh


def test_layers_that_are_the_same_for_all_classes_are_loaded_whole():
    layers = {'roi_head.bbox_head.fc_reg': nn.Linear(3, 4), 'roi_head.bbox_head.fc_cls':
              nn.Linear(3, 5), 'roi_head.mask_head.conv_logits': nn.Conv2d(3, 1, 1)}
    old = model(layers, 1)
    plan = plan_fine_tuning(model(layers, 2).state_dict(), old.state_dict(), ('a', 'b', 'c', 'd'),
                            ('d', 'c', 'b', 'a'), 'the file')
    for key in ('roi_head.bbox_head.fc_reg.weight', 'roi_head.mask_head.conv_logits.weight'):
        assert torch.equal(plan.tensors[key], old.state_dict()[key])
    assert torch.equal(plan.tensors['roi_head.bbox_head.fc_cls.bias'],
                       old.roi_head.bbox_head.fc_cls.bias[[3, 2, 1, 0, 4]])


@pytest.mark.parametrize('name, layer', [
    ('roi_head.bbox_head.0.fc_reg', nn.Linear(3, 4)), ('roi_head.mask_head.conv_logits',
                                                       nn.Conv2d(3, 1, 1)),
    ('roi_head.mask_iou_head.fc_mask_iou', nn.Linear(3, 1))])
def test_boxes_and_masks_of_one_class_serve_another(name, layer):
    """With one class on both sides nothing tells a layer of the class from one for all."""
    layers = {'roi_head.bbox_head.0.fc_cls': nn.Linear(3, 2), name: layer}
    old, new = model(layers, 1).state_dict(), model(copy.deepcopy(layers), 2).state_dict()
    plan = plan_fine_tuning(new, old, ('mango', ), ('apple', ), 'the file')
    assert torch.equal(plan.tensors[f'{name}.weight'], old[f'{name}.weight'])
    scores = plan.tensors['roi_head.bbox_head.0.fc_cls.weight']
    key = 'roi_head.bbox_head.0.fc_cls.weight'
    assert torch.equal(scores[0], new[key][0]) and torch.equal(scores[1], old[key][1])
    assert plan.fresh == ['mango'] and not plan.started and not plan.doubtful


def test_rows_that_may_be_those_of_other_classes_are_doubtful():
    """Of a head that nobody here knows, and of a semantic head with classes of its own."""
    layers = {'bbox_head.guess': nn.Conv2d(3, 3, 1), 'semantic_head.conv_logits':
              nn.Conv2d(3, 7, 1), 'bbox_head.tower': nn.Conv2d(3, 8, 1)}
    old, new = model(layers, 1).state_dict(), model(copy.deepcopy(layers), 2).state_dict()
    plan = plan_fine_tuning(new, old, ('orange', 'fig', 'apple'), OLD, 'the file')
    assert plan.doubtful == ['bbox_head.guess.weight', 'semantic_head.conv_logits.weight']
    assert not plan_fine_tuning(new, old, OLD, OLD, 'the file').doubtful


def test_an_unknown_layer_with_as_many_rows_as_classes_is_matched_by_name():
    old = model({'bbox_head.guess': nn.Conv2d(3, 3, 1)}, 1).state_dict()
    new = model({'bbox_head.guess': nn.Conv2d(3, 4, 1)}, 2).state_dict()
    bias = plan_fine_tuning(new, old, NEW, OLD, 'the file').tensors['bbox_head.guess.bias']
    assert torch.equal(bias[[1, 3]], old['bbox_head.guess.bias'][[2, 0]])
    assert torch.equal(bias[[0, 2]], new['bbox_head.guess.bias'][[0, 2]])


@pytest.mark.parametrize('spoil, told', [
    (lambda state: state.pop('backbone.stages.2.1.gamma'), 'lacks backbone.stages.2.1.gamma'),
    (lambda state: state.update({'neck.weight': torch.zeros(9, 8, 1, 1)}),
     r'neck.weight has the shape \(9, 8, 1, 1\), but the model wants \(8, 8, 1, 1\)'),
    (lambda state: [state.pop(key) for key in list(state) if key.startswith('backbone')],
     'lacks backbone')])
def test_anything_else_that_does_not_fit_is_an_error(spoil, told):
    state = model({'decode_head.conv_seg': nn.Conv2d(3, 3, 1)}, 1).state_dict()
    wanted = model({'decode_head.conv_seg': nn.Conv2d(3, 4, 1)}, 2).state_dict()
    spoil(state)
    with pytest.raises(InputError, match=told):
        plan_fine_tuning(wanted, state, NEW, OLD, 'the file')


def test_weights_for_images_of_other_channels_say_so():
    state = model({}, 1).state_dict()
    name = 'backbone.downsample_layers.0.0.weight'
    wanted = dict(state, **{name: state[name].repeat(1, 2, 1, 1)})
    with pytest.raises(InputError, match='for images of 3 channels, the model for 6'):
        plan_fine_tuning(wanted, state, NEW, OLD, 'the file')


def test_load_from_stays_strict_and_names_the_way_out(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(model({'decode_head.conv_seg': nn.Conv2d(3, 3, 1)}, 1).state_dict(), path)
    with pytest.raises(InputError, match='number of classes; for other classes: train --init-from'):
        load_weights(model({'decode_head.conv_seg': nn.Conv2d(3, 4, 1)}, 2), path)


def test_classes_come_from_the_file_or_from_what_was_published():
    named = dict(meta=dict(dataset_meta=dict(classes=('a', 'b'))))
    assert classes_of(named, {}) == ['a', 'b']
    assert classes_of(dict(meta=dict(CLASSES=['c'])), {}) == ['c']
    assert classes_of(dict(meta=5), {}) is None
    assert classes_of({}, {'decode_head.conv_seg.weight': torch.zeros(150, 1)})[0] == 'wall'
    coco = classes_of({}, {'roi_head.bbox_head.0.fc_cls.weight': torch.zeros(81, 1)})
    assert coco[0] == 'person' and len(coco) == 80
    assert classes_of({}, {'bbox_head.retina_cls.weight': torch.zeros(9 * 80, 1),
                           'bbox_head.retina_reg.weight': torch.zeros(9 * 4, 1)}) == coco
    assert classes_of({}, {'decode_head.conv_seg.weight': torch.zeros(19, 1)}) is None
