"""`convnext-dense list`: what is offered, filtered, as text and as JSON."""
import json

import pytest

from convnext_dense.analysis.listing import COLUMNS, notes, rows
from convnext_dense.checkpoints.zoo import entries
from convnext_dense.cli import main
from convnext_dense.config_files import config_names, find_config


@pytest.mark.parametrize('kind', COLUMNS)
def test_each_kind_is_a_table_of_its_columns(kind, capsys):
    assert main(['list', kind]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    found = rows(kind)
    assert head.split('  ')[0] == 'name' and len(lines) == len(found) + len(notes(found)) > 4
    assert all(column.replace('_', ' ') in head for column in COLUMNS[kind])


def test_weights_and_configs_are_those_of_the_package():
    assert [row['name'] for row in rows('weights')] == list(entries())
    assert [row['name'] for row in rows('configs')] == list(config_names())
    for row in rows('weights'):
        assert row['config'] is None or find_config(row['config']) == find_config(row['name'])


def test_a_row_has_the_published_figures_and_licence():
    weights, = rows('weights', ['cascade-mask-rcnn_convnext-t_coco'])
    assert weights['figures'] == dict(box_ap=50.4, mask_ap=43.7)
    assert weights['params_M'] == 86 and weights['licence'] == 'MIT'
    config, = rows('configs', ['upernet_convnext-t_8xb2-amp-160k'])
    assert config['weights'] == 'upernet_convnext-t_ade20k' and config['macs_G'] == 939


def test_weights_say_what_pixels_they_want_and_how_to_get_them(capsys):
    assert main(['list', 'weights', 'convnext-base_']) == 0
    *_, pixels, by_hand = capsys.readouterr().out.splitlines()
    assert pixels == ('pixels CLIP: data_preprocessor has mean=[122.771, 116.746, 104.094], '
                      'std=[68.501, 66.632, 70.323]')
    assert by_hand.startswith('convnext-base_dinov3: accept the licence at https://')
    assert 'CONVNEXT_DENSE_WEIGHTS' in by_hand
    clip, = rows('weights', ['convnext-large', 'clip'])
    assert clip['pixels'] == 'CLIP' and clip['by_hand'] is None
    assert not notes(rows('weights', ['upernet']))


def test_parameters_are_those_of_the_papers():
    """28.589 M and 28.635 M are classifiers, which have a head of 769 000 weights besides."""
    tiny, = rows('models', ['tiny'])
    assert tiny['params_M'] == round(28.589 - .769, 1)
    assert tiny['params_v2_M'] == round(28.635 - .769, 1)


def test_words_filter_in_any_case(capsys):
    assert main(['list', 'weights', 'NC', 'femto', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row['licence'] for row in found} == {'CC-BY-NC-4.0'}
    assert {'femto' in row['name'] for row in found} == {True}
    assert main(['list', 'weights', 'no-such-word']) == 2
    assert 'no row holds no-such-word' in capsys.readouterr().err


def test_without_a_kind_everything_is_listed(capsys):
    assert main(['list', '--json']) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(COLUMNS)
