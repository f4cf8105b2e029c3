"""Files whose structure is not what anybody writes: one line, or described as far as it goes."""
import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_weights import Detector, convnext, official_state, randomise

from convnext_dense.checkpoints import load_weights
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.checkpoints.inspection import inspect_checkpoint, summary
from convnext_dense.checkpoints.reading import read_checkpoint
from convnext_dense.errors import InputError

META = [5, 'text', [1], {}, {1: 2, (3, 4): 'x'}, dict(classes=5), dict(classes=[1, 2]),
        dict(classes=[]), dict(dataset_meta=5), dict(dataset_meta=dict(classes={1})),
        dict(CLASSES=None), dict(epoch='a', iter=None), dict(cfg=5, licence=[1], config_sha256=3)]


@pytest.mark.parametrize('meta', META, ids=repr)
def test_odd_metadata_stops_nothing(meta, tmp_path):
    model = randomise(Detector(convnext()))
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=meta, epoch=[1]), path)
    assert summary(inspect_checkpoint(path))
    assert convert_checkpoint(path, tmp_path / 'b.safetensors')['format'] == 'pt'
    assert load_weights(Detector(convnext()), path).loaded


STATES = {
    'a scalar kernel': {'stages.0.0.dwconv.weight': torch.ones([])},
    'a stage without a number': {'stages.x.0.dwconv.weight': torch.ones(3)},
    'an empty kernel': {'stages.0.0.dwconv.weight': torch.ones(0, 1, 7, 7)},
    'a large stage number': {'stages.99999999999999999999.0.dwconv.weight': torch.ones(3)},
    'a flat pointwise layer': {'stages.1.0.pwconv1.weight': torch.ones(3)},
    'a kernel with odd dimensions': {'stages.1.0.dwconv.kernel': torch.ones(3)}}


@pytest.mark.parametrize('name', STATES)
def test_odd_tensors_are_one_line(name, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({**official_state(), **STATES[name]}, path)
    with pytest.raises(InputError) as caught:
        load_weights(convnext(), path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    for work in (lambda: summary(inspect_checkpoint(path)),
                 lambda: convert_checkpoint(path, tmp_path / 'b.pth', to='timm')):
        try:
            work()
        except InputError as error:
            assert str(path) in str(error) and '\n' not in str(error)


@pytest.mark.parametrize('state', [{5: torch.ones(1)}, {(1, 2): torch.ones(1)}, {None: 1}])
def test_names_that_are_no_texts_are_no_weights(state, tmp_path):
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='holds no weights'):
        load_weights(convnext(), tmp_path / 'a.pth')


@pytest.mark.parametrize('content', [
    dict(state_dict={'a': torch.ones(1)}, meta=5), dict(state_dict={'a': torch.ones(1)}, meta=[1]),
    dict(state_dict=None), dict(state_dict=[1]), dict(state_dict={5: torch.ones(1)})], ids=repr)
def test_odd_files_of_an_index_are_one_line(content, tmp_path):
    torch.save(content, tmp_path / 'a.bin')
    index = tmp_path / 'a.bin.index.json'
    index.write_text(json.dumps(dict(weight_map={'a': 'a.bin'})))
    with pytest.raises(InputError, match=r'a\.bin') as caught:
        read_checkpoint(index)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['{"weight_map": ' + '[' * 99999, json.dumps(dict(
    weight_map={'a': 'x' * 5000})), json.dumps(dict(weight_map={'a': 'x\0'}))], ids=len)
def test_an_odd_index_is_one_line(text, tmp_path):
    index = tmp_path / 'a.bin.index.json'
    index.write_text(text)
    with pytest.raises(InputError, match=str(index)):
        read_checkpoint(index)


@pytest.mark.parametrize('value', ['[' * 99999, '9' * 5000, '{"a"'], ids=len)
def test_odd_metadata_of_safetensors_is_kept_as_text(value, tmp_path):
    save_file({'a': torch.ones(1)}, tmp_path / 'a.safetensors', metadata=dict(a=value))
    assert read_checkpoint(tmp_path / 'a.safetensors')['meta'] == dict(a=value)
