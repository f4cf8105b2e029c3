"""Reading files: what is allowed, what is refused, and what it costs."""
import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from tiny_weights import convnext, convnext_file

from convnext_dense.checkpoints import load_weights, read_checkpoint
from convnext_dense.checkpoints.reading import wanted_globals
from convnext_dense.errors import InputError


@pytest.mark.parametrize('zipped', [True, False])
def test_what_openmmlab_saves_besides_weights_is_read(zipped, tmp_path):
    history = HistoryBuffer([1., 2.], [1, 1])
    saved = dict(
        state_dict=convnext_file('official'),
        meta=dict(classes=('a', ), seed=np.int64(3), lr=np.float64(.1), flag=np.bool_(True),
                  half=np.float16(1), palette=np.zeros((2, 3), np.uint8), none=None),
        message_hub=dict(log_scalars=dict(loss=history)),
        args=argparse.Namespace(lr=.1, layers=[1, 2]))
    path = tmp_path / 'epoch_1.pth'
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path)
    assert read['meta']['seed'] == 3 and read['meta']['lr'] == .1
    assert read['meta']['palette'].shape == (2, 3)
    assert read['message_hub']['log_scalars']['loss'].mean() == 1.5
    assert read['args'].layers == [1, 2]
    for key, tensor in saved['state_dict'].items():
        assert torch.equal(read['state_dict'][key], tensor)


def test_numpy_s_names_before_2_0_are_known(tmp_path):
    """Published files were written with numpy 1, which calls its core numpy.core."""
    path = tmp_path / 'old.pth'
    torch.save(dict(a=torch.ones(1), b=np.float64(.5), c=np.arange(3)), path,
               _use_new_zipfile_serialization=False)
    old = path.read_bytes().replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
    assert old != path.read_bytes()
    path.write_bytes(old)
    read = read_checkpoint(path)
    assert read['b'] == .5 and list(read['c']) == [0, 1, 2]


def test_mmengine_s_own_checkpoint_is_read(tmp_path):
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Toy(BaseModel):

        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(1, 1)

        def forward(self, inputs, mode):
            return dict(loss=self.linear(inputs).sum())

    runner = Runner(Toy(), str(tmp_path), train_dataloader=dict(
        dataset=[dict(inputs=torch.ones(1))] * 2, sampler=dict(type='DefaultSampler', shuffle=True),
        batch_size=1, num_workers=0, collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=1), experiment_name=tmp_path.name,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)))
    runner.train()
    read = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert read['meta']['epoch'] == 1
    assert isinstance(read['message_hub']['log_scalars']['train/loss'], HistoryBuffer)
    assert 'state' in read['optimizer'] and 'linear.weight' in read['state_dict']


class Wanting:

    def __reduce__(self):
        return subprocess.Popen, (['true'], )


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
def test_a_refusal_names_what_the_file_wants(zipped, protocol, tmp_path):
    path = tmp_path / 'foreign.pth'
    torch.save(dict(a=torch.ones(1), b=Wanting()), path, pickle_protocol=protocol,
               _use_new_zipfile_serialization=zipped)
    assert wanted_globals(path) == ['subprocess.Popen']
    with pytest.raises(InputError, match=r'foreign.pth is refused: .* subprocess.Popen.*'
                                         r'convert-checkpoint .*foreign.pth .*--trust-pickle'):
        read_checkpoint(path)


def test_trusting_a_pickle_is_loud_and_off_by_default(tmp_path):
    path = tmp_path / 'foreign.pth'
    torch.save(dict(a=torch.ones(1), b=Wanting()), path)
    with pytest.warns(UserWarning, match='can run any code'):
        assert read_checkpoint(path, trust_pickle=True)['a'] == 1


@pytest.mark.parametrize('content, message', [
    (b'', 'has 0 bytes'), (b'<html><body>404 Not Found</body></html>', 'web page'),
    (b'version https://git-lfs.github.com/spec/v1', 'no checkpoint'),
    (b'PK\x03\x04' + b'\0' * 50, 'cannot be read'), (b'\x80\x02' + b'\xff' * 50, 'cannot be read'),
    ((2 ** 20).to_bytes(8, 'little') + b'{"a":1}' * 3, 'cannot be read')])
def test_what_is_no_checkpoint_is_called_so(content, message, tmp_path):
    path = tmp_path / 'file.pth'
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_checkpoint(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match='nothing.pth: no such file'):
        read_checkpoint(tmp_path / 'nothing.pth')
    with pytest.raises(InputError, match='nothing.pth: no such file'):
        read_checkpoint(str(tmp_path / 'nothing.pth'))
    with pytest.raises(InputError, match='is a folder with no file of weights'):
        read_checkpoint(tmp_path)


def test_a_whole_model_or_a_list_is_refused(tmp_path):
    torch.save(convnext(), tmp_path / 'model.pth')
    with pytest.raises(InputError, match='wants .*convnext_dense.models.convnext.ConvNeXt'):
        read_checkpoint(tmp_path / 'model.pth')
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(InputError, match='holds a list, expected a dict'):
        read_checkpoint(tmp_path / 'list.pth')


def test_safetensors_bring_their_metadata(tmp_path):
    from safetensors.torch import save_file
    save_file(dict(a=torch.arange(3)), tmp_path / 'a.safetensors',
              metadata=dict(format='pt', classes='["cat", "dog"]'))
    read = read_checkpoint(tmp_path / 'a.safetensors')
    assert read['meta'] == dict(format='pt', classes=['cat', 'dog'])
    assert torch.equal(read['state_dict']['a'], torch.arange(3))


def test_reading_leaves_the_tensors_in_the_file_until_they_are_used(tmp_path):
    """Memory-mapped: 100 MB are opened without 100 MB of memory."""
    path = tmp_path / 'large.pth'
    torch.save(dict(large=torch.zeros(25_000_000)), path)
    code = ('import resource, sys, torch; from convnext_dense.checkpoints import read_checkpoint;'
            'peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;'
            'before = peak(); read_checkpoint(sys.argv[1]); print(peak() - before)')
    grown = subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True,
                           text=True, check=True).stdout
    assert float(grown) < 50  # MB


def test_importing_the_room_takes_no_framework():
    """mmdet, mmseg and transformers take seconds to import, and are not needed."""
    code = ('import sys, convnext_dense.checkpoints, convnext_dense.checkpoints.inspection;'
            'print([name for name in ("mmdet", "mmseg", "mmcv", "transformers", "timm") '
            'if name in sys.modules])')
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                           check=True).stdout
    assert found.strip() == '[]'


@pytest.fixture
def shards(tmp_path):
    """A model in two files and an index, as transformers writes it."""
    from safetensors.torch import save_file
    state = convnext_file('transformers')
    keys = list(state)
    parts = {'model-00001-of-00002.safetensors': keys[:9],
             'model-00002-of-00002.safetensors': keys[9:]}
    for name, part in parts.items():
        save_file({key: state[key].contiguous() for key in part}, tmp_path / name)
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map={
        key: name for name, part in parts.items() for key in part})))
    return index


def test_sharded_safetensors_are_read_by_their_index_or_folder(shards):
    whole = convnext_file('transformers')
    for path in (shards, str(shards), shards.parent):
        read = read_checkpoint(path)['state_dict']
        assert read.keys() == whole.keys()
        assert all(torch.equal(read[key], whole[key]) for key in whole)
        assert load_weights(convnext(), path).format == 'transformers'


@pytest.mark.parametrize('change, told', [
    (lambda index, name: index['weight_map'].update(more=name), 'disagree on more'),
    (lambda index, name: index['weight_map'].popitem(), 'disagree on '),
    (lambda index, name: index['weight_map'].update(more='../a.pth'), "the file '../a.pth'"),
    (lambda index, name: index['weight_map'].update(more=5), 'the file 5'),
    (lambda index, name: index['weight_map'].update(more='c.safetensors'), 'c.safetensors, which'),
    (lambda index, name: index.update(weight_map=[name]), 'expected the name of a file'),
    (lambda index, name: index.pop('weight_map'), 'is no index of weights')])
def test_an_index_that_does_not_fit_its_files_is_named(change, told, shards):
    index = json.loads(shards.read_text())
    change(index, 'model-00001-of-00002.safetensors')
    shards.write_text(json.dumps(index))
    with pytest.raises(InputError, match=told):
        read_checkpoint(shards)


def test_a_folder_s_whole_safetensors_go_before_the_index_of_older_files(tmp_path):
    """As transformers looks for them; the shards of the older form were often not fetched."""
    from safetensors.torch import save_file
    save_file(convnext_file('timm'), tmp_path / 'model.safetensors')
    (tmp_path / 'pytorch_model.bin.index.json').write_text('{"weight_map": {"a": "gone.bin"}}')
    assert read_checkpoint(tmp_path)['state_dict'].keys() == convnext_file('timm').keys()


def test_openclip_s_folder_is_read(tmp_path):
    state = {'visual.trunk.stem.0.bias': torch.ones(2)}
    torch.save(state, tmp_path / 'open_clip_pytorch_model.bin')
    assert list(read_checkpoint(tmp_path)) == ['visual.trunk.stem.0.bias']


def test_a_folder_of_several_other_indexes_is_refused(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.index.json').write_text('{}')
    with pytest.raises(InputError, match=r'with 2 indexes of weights \(a.index.json, b.index.json'):
        read_checkpoint(tmp_path)
