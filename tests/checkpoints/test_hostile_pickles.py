"""Pickles that ask allowed names for something else: one line, no crash, no memory, no call.

Each file is read in a process of its own with little memory, so that a crash is a failed test.
"""
import io
import json
import pickle
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.checkpoints.pickle_rules import RULES, STORAGES, WITH_STATE, is_allowed
from convnext_dense.errors import InputError

#: reads the files of each line in a fork of its own, and prints how that ended
READ = '''
import json, os, signal, sys
from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.errors import InputError
for line in sys.stdin:
    child = os.fork()
    if not child:
        signal.alarm(100)
        for path in json.loads(line):
            try:
                print('read', read_checkpoint(path).keys())
            except InputError as error:
                print('refused', error)
        sys.stdout.flush()
        os._exit(0)
    print('status', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''


def named(name):
    module, _, function = name.rpartition('.')
    return b'c' + f'{module}\n{function}\n'.encode()


def text(value):
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def number(value):
    return b'\x8a' + bytes([9]) + value.to_bytes(9, 'little', signed=True)


def items(*values):
    return b'(' + b''.join(values) + b't'


def call(name, *values):
    return named(name) + items(*values) + b'R'


def made(name, *values):
    return named(name) + items(*values) + b'\x81'


NONE, TRUE, FALSE, DICT, LIST = b'N', b'\x88', b'\x89', b'}', b']'
HOOKS = call('collections.OrderedDict')
TENSOR = 'torch._utils._rebuild_tensor_v2'
ZERO, ONE = number(0), number(1)
LATIN = call('_codecs.encode', text('b'), text('latin1'))


def storage(count=4, key='0', kind='torch.FloatStorage', word='storage'):
    return items(text(word), named(kind), text(key), text('cpu'), number(count)) + b'Q'


def tensor(offset=0, sizes=(4, ), strides=(1, ), count=4, hooks=HOOKS, more=()):
    return call(TENSOR, storage(count), number(offset), items(*map(number, sizes)),
                items(*map(number, strides)), FALSE, hooks, *more)


def dtype(code='f8', state=(3, '<', None, None, None, -1, -1, 0)):
    made_type = call('numpy.dtype', text(code), FALSE, TRUE)
    return made_type if state is None else made_type + pickled(state) + b'b'


def pickled(value):
    return pickle.dumps(value, 2)[2:-1]


def array(shape=(1, ), kind=None, raw=b'\0' * 8, empty=(0, )):
    start = call('numpy.core.multiarray._reconstruct', named('numpy.ndarray'), pickled(empty),
                 LATIN)
    return start + items(ONE, pickled(shape), kind or dtype(), FALSE, pickled(raw)) + b'b'


def history(state):
    return made('mmengine.logging.history_buffer.HistoryBuffer') + state + b'b'


def dict_of(**values):
    return DICT + b'(' + b''.join(text(key) + value for key, value in values.items()) + b'u'


def write(path, value, data=b'\0' * 16):
    """A file of torch.save's layout whose pickle holds ``value`` beside one good tensor."""
    body = b'\x80\x02' + dict_of(weight=tensor(), more=value) + b'.'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('a/data.pkl', body)
        file.writestr('a/byteorder', b'little')
        file.writestr('a/data/0', data)
        file.writestr('a/version', b'3\n')
    return path


DEEP = b')' + b'\x85' * 1_000_000
DOUBLED = LATIN + 50 * (b'q\x01' + named('_codecs.encode') + b'h\x01' + text('hex') + b'\x86R')
BILLIONS = LIST + b''.join(b'q\x02]h\x02ah\x02a' for _ in range(60))
HUGE = 10 ** 15
# name -> hostile uses of it
ATTACKS = {
    'collections.OrderedDict': [call('collections.OrderedDict', ONE),
                                HOOKS + b'(' + DEEP + ONE + b'u'],
    'collections.Counter': [call('collections.Counter', text('ab'), ONE)],
    'builtins.set': [call('builtins.set', text('ab')), call('builtins.set', LIST, LIST)],
    '_codecs.encode': [call('_codecs.encode', text('b'), text('rot13')), DOUBLED,
                       call('_codecs.encode', text('b'), text('latin1'), text('x'))],
    'torch.Size': [call('torch.Size', number(HUGE)), call('torch.Size', items(text('a')))],
    'torch.device': [call('torch.device', text('cpu'), text('a')), call('torch.device', LIST)],
    'torch._utils._rebuild_tensor': [
        call('torch._utils._rebuild_tensor', storage(), ZERO, items(number(5)), items(ONE))],
    TENSOR: [tensor(sizes=(5, )), tensor(offset=1), tensor(strides=(2, )), tensor(offset=-1),
             tensor(sizes=(HUGE, )), tensor(sizes=(HUGE, ), strides=(HUGE, )),
             tensor(sizes=(-1, )), tensor(strides=(-1, )), tensor(sizes=(2, 2)),
             tensor(hooks=named('builtins.set')), tensor(more=(dict_of(conj=TRUE), )),
             tensor(sizes=(HUGE, ), strides=(0, )) + DICT + b'b', tensor() + items(ONE) + b'b'],
    'torch._utils._rebuild_parameter': [
        call('torch._utils._rebuild_parameter', text('a'), TRUE, HOOKS),
        call('torch._utils._rebuild_parameter', tensor(), TRUE, tensor())],
    'numpy.dtype': [call('numpy.dtype', text('O8'), FALSE, TRUE), dtype('V8', None),
                    dtype('M8', None), dtype('U' + '9' * 30, None), call('numpy.dtype', LIST),
                    call('numpy.dtype', text('i4,O')), dtype('f8', (3, '<', None, None, None, -1,
                                                                    -1, 63)),
                    dtype('U2', (3, '<', None, None, None, 80000, 4, 8)),
                    dtype('f8', (4, '<', None, ('a', ), {'a': 1}, -1, -1, 0, None))],
    'mmengine.logging.history_buffer.HistoryBuffer': [
        made('mmengine.logging.history_buffer.HistoryBuffer', ONE), history(LIST),
        history(dict_of(_log_history=array(), _count_history=LIST, max_length=ONE)),
        history(dict_of(_log_history=array(), _count_history=array((2, ), raw=b'\0' * 16),
                        max_length=ONE))],
    'argparse.Namespace': [made('argparse.Namespace', ONE),
                           made('argparse.Namespace') + dict_of(a=named('builtins.set')) + b'b',
                           made('argparse.Namespace') + pickled({1: 2}) + b'b',
                           made('argparse.Namespace') + items(NONE, dict_of(__class__=ONE)) + b'b'],
    'builtins.slice': [call('builtins.slice', LIST), call('builtins.slice')],
    'builtins.getattr': [call('builtins.getattr', named('numpy.ndarray'), text('tofile')),
                         call('builtins.getattr', text('a'), text('__class__')),
                         call('builtins.getattr', named('torch.FloatStorage'), text('__init__'))],
    **{f'numpy.{core}.multiarray._reconstruct': [
        call(f'numpy.{core}.multiarray._reconstruct', named('builtins.set'), items(ZERO), LATIN),
        call(f'numpy.{core}.multiarray._reconstruct', named('numpy.ndarray'), items(number(HUGE)),
             LATIN)] for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': [
        call(f'numpy.{core}.multiarray.scalar', dtype(), LATIN),
        call(f'numpy.{core}.multiarray.scalar', dtype('U1', None), pickled(b'\xff' * 4)),
        call(f'numpy.{core}.multiarray.scalar', text('O'), pickled(b'\0' * 8))]
       for core in ('core', '_core')},
    # the array of case 41: an object at an address that the file chooses
    'numpy.ndarray': [call('numpy.ndarray', items(ONE), text('O'), pickled(b'A' * 8)),
                      made('numpy.ndarray', items(ONE), text('O'), pickled(b'A' * 8)),
                      array(kind=dtype('O8', None)), array(shape=(HUGE, )), array(shape=(-1, )),
                      array(shape=(2, )), array(raw=b'\0' * 7), array(shape=(1, ) * 40),
                      array(kind=text('f8')), array(kind=dtype('U2', None), raw=b'\xff' * 8),
                      array(empty=(HUGE, )), call('numpy.core.multiarray._reconstruct',
                                                  named('numpy.ndarray'), items(ZERO), LATIN)],
    'torch.FloatStorage': [storage(5, '1'), storage(HUGE, '0'), storage(5, '0'), storage(2, '0'),
                           storage(4, '0', 'torch.ByteStorage'), storage(word='module'),
                           storage(4, '../x'), call('torch.FloatStorage', number(HUGE)),
                           named('torch.FloatStorage') + DICT + b'b', text('a') + b'Q'],
    'torch.float32': [call('torch.float32'), named('torch.float32') + DICT + b'b'],
    'structure': [DEEP, BILLIONS, LIST + b'q\x03h\x03a', b']' * 200 + b'a' * 199, ONE + LIST + b'a',
                  text('a') + LIST + b'(' + b'u', named('builtins.set')]}


def test_every_allowed_name_is_attacked():
    covered = set(RULES) | WITH_STATE | {'torch.FloatStorage', 'torch.float32'}
    assert covered == set(ATTACKS) - {'structure'}
    assert all(is_allowed(name) for name in covered) and 'torch.FloatStorage' in STORAGES


@pytest.fixture(scope='module')
def reader():
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    with subprocess.Popen([sys.executable, '-c', READ], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, preexec_fn=limit) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize('name', ATTACKS)
def test_hostile_arguments_are_refused_in_one_line(name, reader, tmp_path):
    paths = [str(write(tmp_path / f'{place}.pth', attack))
             for place, attack in enumerate(ATTACKS[name])]
    reader.stdin.write(json.dumps(paths) + '\n')
    reader.stdin.flush()
    lines = []
    for line in iter(reader.stdout.readline, ''):
        if line.startswith('status '):
            break
        lines.append(line)
    assert line == 'status 0\n', (line, lines)
    assert len(lines) == len(paths)
    for path, line in zip(paths, lines):
        assert line.startswith(f'refused {path} '), line


@pytest.mark.parametrize('name', [
    'numpy.dtypes.Float64DType', 'torch.Tensor', 'torch.storage.UntypedStorage', 'torch.typename',
    'torch._utils._rebuild_nested_tensor', 'torch._utils._rebuild_sparse_tensor', 'torch.load',
    'torch._utils._rebuild_parameter_with_state', 'torch._tensor._rebuild_from_type_v2',
    'builtins.bytearray', 'builtins.eval', 'os.system', 'numpy.load',
    'numpy.core.multiarray.empty'])
def test_other_names_are_refused_by_name(name, tmp_path):
    """Some of them torch's own reader allows: they take sizes or classes from the file."""
    path = write(tmp_path / 'a.pth', call(name, number(HUGE)))
    with pytest.raises(InputError, match=f'is refused: besides weights it wants .*{name}'):
        read_checkpoint(path)


def test_the_same_bytes_with_honest_arguments_are_read(tmp_path):
    """The attacks above differ from these in the attacked place alone."""
    good = dict_of(
        array=array((2, ), dtype(), bytes(16)), text=array((1, ), dtype('U1', (
            3, '<', None, None, None, 4, 4, 8)), b'a\0\0\0'), tensor=tensor(1, (3, ), (1, )),
        history=history(dict_of(_log_history=array(raw=b'\0' * 6 + b'\xf0?'),
                                _count_history=array(raw=b'\0' * 6 + b'\xf0?'),
                                max_length=number(10))),
        options=made('argparse.Namespace') + dict_of(lr=ONE) + b'b', order=HOOKS,
        slice=call('builtins.slice', ONE), count=call('collections.Counter', DICT))
    read = read_checkpoint(write(tmp_path / 'a.pth', good))['more']
    assert np.array_equal(read['array'], np.zeros(2)) and read['array'].flags.writeable
    assert read['text'].tolist() == ['a'] and read['tensor'].shape == (3, )
    assert read['history'].mean() == 1 and read['options'].lr == 1


def test_attributes_of_a_file_do_not_stay_on_what_is_read(tmp_path):
    """A state dict whose ``items`` is an attribute of the file."""
    value = HOOKS + dict_of(items=text('x'), _metadata=dict_of(a=dict_of(version=ONE))) + b'b'
    read = read_checkpoint(write(tmp_path / 'a.pth', value))['more']
    assert list(read.items()) == [] and vars(read) == {'_metadata': {'a': {'version': 1}}}


def test_a_legacy_file_that_promises_more_than_it_has(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save(dict(a=torch.zeros(100)), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'Kd', b'J' + struct.pack('<i', 2**31 - 1)))
    with pytest.raises(InputError, match='it ends before its last tensor'):
        read_checkpoint(path)


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    path = tmp_path / 'bomb.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a/data.pkl', io.BytesIO(bytes(10**7)).read())
    with pytest.raises(InputError, match='compressed or encrypted'):
        read_checkpoint(path)


def test_two_records_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / 'a.pth', DICT)
    with pytest.warns(UserWarning, match='Duplicate'), zipfile.ZipFile(path, 'a') as file:
        file.writestr('a/data.pkl', b'\x80\x02}.')
    with pytest.raises(InputError, match='two records'):
        read_checkpoint(path)
