"""Names of models that are short and tell them apart."""
from types import SimpleNamespace

import pytest

from convnext_dense.analysis.labels import family_and_size, short_names


def labels_of(names, named=()):
    return list(short_names([SimpleNamespace(name=name, named=name in named)
                             for name in names]).values())


@pytest.mark.parametrize('names, labels', [
    (['mask_convnext-t_coco', 'mask_swin-t_coco'], ['convnext-t', 'swin-t']),
    (['a_x_1', 'a_x_2'], ['1', '2']),
    (['mask_swin-t_fpn_coco', 'cascade_swin-t_fpn_giou_coco', 'mask_swin-s_fpn_coco'],
     ['mask swin-t', 'cascade swin-t', 'mask swin-s']),
    (['a_x', 'a_x_2'], ['a_x', 'a_x_2']),
    (['only'], ['only'])])
def test_labels_are_the_fewest_words_that_tell_the_names_apart(names, labels):
    assert labels_of(names) == labels


def test_names_of_the_user_stay():
    assert labels_of(['a_swin_x', 'My best', 'a_resnet_x'], ['My best']) == [
        'swin', 'My best', 'resnet']


@pytest.mark.parametrize('label, family, size', [
    ('convnext-t', 'convnext', 'T'), ('convnextv2-atto', 'convnextv2', 'ATTO'),
    ('convnext-xl-in22k', 'convnext-in22k', 'XL'),
    ('cascade-mask-rcnn swin-b', 'cascade-mask-rcnn swin', 'B'),
    ('x101-32x4d', 'x101', '32X4D'), ('cascade-mask-rcnn r50', 'cascade-mask-rcnn r50', 'R50')])
def test_a_family_is_all_but_the_size(label, family, size):
    assert family_and_size(label) == (family, size)
