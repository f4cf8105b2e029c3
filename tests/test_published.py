"""A row of the published figures is found by its key."""
import pytest

from convnext_dense.errors import InputError
from convnext_dense.published import imagenet_rows, load_published, published_row, published_rows


def test_every_row_has_a_key_of_its_own():
    document = load_published()
    for table, count in dict(
            coco=17, ade20k=11, ade20k_linear=4, v2_dense=3, dino=12, rtmdet=2,
            mask2former_ade20k=7, mask2former_coco=3, mask2former_panoptic=3).items():
        assert len(document[table]) == len(published_rows(table)) == count
    assert len(published_rows()) == 62


@pytest.mark.parametrize('key, field, value', [
    ('coco/cascade_convnext-b_in1k', 'box_ap', 52.7),
    ('coco/cascade_convnext-b_in22k', 'box_ap', 54.0),
    ('coco/mask-rcnn_swin-s_in1k', 'params_M', 69),
    ('ade20k/upernet_convnext-b_in22k', 'crop', 640),
    ('v2_dense/upernet_convnextv2-l_fcmae-in1k', 'miou', 53.7)])
def test_a_key_is_table_name_and_pretraining(key, field, value):
    assert published_row(key)[field] == value


def test_every_row_has_its_source():
    sources = {key: row['source'] for key, row in published_rows().items()}
    assert sources['coco/cascade_convnext-t_in1k'] == 'arXiv 2201.03545'
    assert sources['coco/mask-rcnn_swin-s_in1k'] == 'github.com/microsoft/Swin-Transformer'
    assert sources['dino/dino-4scale_r50_in1k'] == 'mmdetection'
    assert sources['mask2former_ade20k/mask2former_convnext-b_in22k'].startswith('pull request 34')


def test_classifiers_have_the_figures_of_their_release():
    rows = {(row['name'], row['pretrain']): row for row in imagenet_rows()}
    assert len(rows) == 26
    assert rows['convnext-b', 'in1k']['top1'] == 83.8
    assert rows['convnext-xl', 'in22k']['top1'] == 87.0
    assert rows['swin-t', 'in1k']['source'] == 'github.com/microsoft/Swin-Transformer'
    assert rows['convnextv2-h', 'fcmae']['source'] == 'github.com/facebookresearch/ConvNeXt-V2'
    backbones = load_published()['backbones']
    sizes = dict(t='tiny', s='small', b='base', l='large', xl='xlarge', h='huge')
    for (name, _), row in rows.items():
        family, _, size = name.partition('-')
        if family != 'swin':
            known = backbones['v2' if family == 'convnextv2' else 'v1'][sizes.get(size, size)]
            assert row['flops_G'] == pytest.approx(known['flops_G'], rel=.01), name
            assert row['params_M'] == pytest.approx(known['params_M'], rel=.03), name


def test_rows_are_copies():
    published_row('coco/cascade_convnext-t_in1k')['box_ap'] = 0
    assert published_row('coco/cascade_convnext-t_in1k')['box_ap'] == 50.4


@pytest.mark.parametrize('key, hint', [
    ('coco/cascade_convnext-b', 'coco/cascade_convnext-b_in1k'),
    ('ade/upernet_swin-t_in1k', 'ade20k/upernet_swin-t_in1k'),
    (None, 'coco/mask-rcnn_convnext-t_in1k')])
def test_an_unknown_key_says_which_ones_are_near(key, hint):
    with pytest.raises(InputError, match='has no row') as error:
        published_row(key)
    assert hint in str(error.value)
