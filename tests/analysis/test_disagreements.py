"""Images on which trained models differ: which they are, and how the page shows them."""
import re

import numpy as np
import pytest
import torch

from convnext_dense.analysis import disagreements
from convnext_dense.analysis.disagreements import Disagreement, Trained, largest_disagreements
from convnext_dense.analysis.example_images import html_examples
from convnext_dense.commands.compare_demo import MODELS
from convnext_dense.config import load_config, set_data_root
from convnext_dense.datasets.shapes import write_shapes


@pytest.fixture
def models(tmp_path):
    """Two untrained models of the demo, and what each of them says of four images."""
    write_shapes(tmp_path / 'shapes', train=1, val=4, size=64)
    trained = {}
    for name in ('ConvNeXt', 'ResNet'):
        cfg = load_config(MODELS[name])
        set_data_root(cfg, str(tmp_path / 'shapes'))
        weights = tmp_path / f'{name}.pth'
        torch.manual_seed(len(trained))
        torch.save(disagreements.build_model(cfg).state_dict(), weights)
        trained[name] = Trained(cfg, weights)
    return trained


def test_the_largest_difference_of_mistakes_comes_first(models, monkeypatch):
    """In the images 0 to 3 the first model is wrong in .1, .5, .2, .3, the second in .1, .1, .9,
    .2."""
    costs = {'ConvNeXt': [.1, .5, .2, .3], 'ResNet': [.1, .1, .9, .2]}
    asked = iter([*costs['ConvNeXt'], *costs['ResNet']])
    monkeypatch.setattr(disagreements, '_cost', lambda mistakes: next(asked))
    found = largest_disagreements(models)
    assert [example.name for example in found] == ['000002.jpg', '000001.jpg', '000003.jpg']


def test_annotations_and_what_each_model_found_stand_side_by_side(models):
    example, *_ = largest_disagreements(models, most=1)
    captions = [caption for caption, _ in example.drawings]
    assert captions[0] == 'annotations'
    assert [caption.split(':')[0] for caption in captions[1:]] == ['ConvNeXt', 'ResNet']
    assert all(re.search(r': \d+\.\d % of the pixels wrong$', caption) for caption in captions[1:])
    images = [image for _, image in example.drawings]
    assert len({image.shape for image in images}) == 1 and images[0].dtype == np.uint8
    assert not np.array_equal(images[1], images[2])


def test_models_that_agree_have_nothing_to_show(models):
    same = {'one': models['ResNet'], 'other': models['ResNet']}
    assert largest_disagreements(same) == []


def test_no_more_images_are_looked_at_than_asked_for(models, monkeypatch):
    seen = []
    monkeypatch.setattr(disagreements, '_cost', lambda mistakes: seen.append(mistakes) or 0.)
    largest_disagreements(models, looked=2)
    assert len(seen) == 2 * len(models)


def test_the_page_holds_the_images_itself():
    image = np.zeros((4, 4, 3), np.uint8)
    page = html_examples([Disagreement('<a>.jpg', [('annotations', image), ('A & B', image)])])
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert '&lt;a&gt;.jpg' in page and 'A &amp; B' in page and '<a>' not in page
    assert html_examples([]) == ''
