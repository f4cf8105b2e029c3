"""Checkpoints, work directories and archives that a stranger might send."""
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Code:
    """An object whose pickle calls something when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def pickled(path: Path, *objects: Any, state: dict | None = None) -> None:
    """A file of torch.save that holds a state and hostile objects."""
    state = state or {}
    torch.save(dict(state, meta=dict(state.get('meta', {}), evil=list(objects))), path)


def archive(path: Path, records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, 'w', method) as file:
        for name, content in records.items():
            file.writestr(name, content)


def hostile_files(folder: Path, good: dict, ran: Path, canary: Path) -> list[Path]:
    """Checkpoints that a stranger might send.

    Args:
        folder: where they are written.
        good: a true state of training.
        ran: what appears where code ran.
        canary: a file that no door may touch.
    """
    mark = str(ran)
    made = [folder / f'{name}.pth' for name in (
        'open', 'system', 'exec', 'nested', 'reduce_ex', 'legacy', 'plain_pickle', 'second_pickle')]
    pickled(made[0], Code(open, mark, 'w'), state=good)
    pickled(made[1], Code(os.system, f'touch {mark}'), state=good)
    pickled(made[2], Code(exec, f'open({mark!r}, "w")'), state=good)
    pickled(made[3], {'a': [Code(getattr, Code(__import__, 'os'), 'mkdir')]}, state=good)
    pickled(made[4], Code(os.remove, str(canary)), state=good)
    torch.save(dict(good, evil=Code(os.mkdir, mark)), made[5], _use_new_zipfile_serialization=False)
    made[6].write_bytes(pickle.dumps(dict(state_dict={}, evil=Code(os.mkdir, mark))))
    buffer = io.BytesIO()
    torch.save(good, buffer)
    with zipfile.ZipFile(buffer) as file:
        records = {name: file.read(name) for name in file.namelist()}
    root = next(iter(records)).split('/')[0]
    archive(made[7], dict(records, **{f'{root}/more.pkl': pickle.dumps(Code(os.mkdir, mark))}))
    found = folder / 'bomb.pth'
    archive(found, {'a/data.pkl': bytes(200_000_000)}, zipfile.ZIP_DEFLATED)
    made.append(found)
    found = folder / 'escaping.pth'
    archive(found, dict(records, **{f'{root}/../../{canary.name}': b'gone'}))
    made.append(found)
    pointer = b'\x80\x02}X\x01\x00\x00\x00acnumpy\nndarray\n(K\x01\x85X\x01\x00\x00\x00OC\x08' + \
        b'A' * 8 + b'tRs.'
    archive(folder / 'pointer.pth', {'a/data.pkl': pointer, 'a/version': b'3\n'})
    made.append(folder / 'pointer.pth')
    whole = buffer.getvalue()
    for name, content in dict(
            torn=whole[:len(whole) // 2], empty=b'', web_page=b'<html>' * 1000, zeros=bytes(5000),
            header=struct.pack('<Q', 2**62) + b'{}' * 20, flipped=whole[:len(whole) // 2] + bytes(
                [whole[len(whole) // 2] ^ 64]) + whole[len(whole) // 2 + 1:]).items():
        (folder / f'{name}.pth').write_bytes(content)
        made.append(folder / f'{name}.pth')
    for name, header in dict(
            overlapping={'a': dict(dtype='F32', shape=[4], data_offsets=[0, 16]),
                         'b': dict(dtype='F32', shape=[4], data_offsets=[8, 24])},
            huge={'a': dict(dtype='F32', shape=[2**40], data_offsets=[0, 2**42])},
            odd={'a': dict(dtype='X9', shape='x', data_offsets=None)}, deep=None).items():
        text = json.dumps(header).encode() if header else b'{"a":' + b'[' * 100_000
        made.append(folder / f'{name}.safetensors')
        made[-1].write_bytes(struct.pack('<Q', len(text)) + text + bytes(24))
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps(dict(weight_map={'a': f'../{canary.name}'})))
    made.append(index)
    for name, change in dict(
            names_files=lambda state: state['message_hub']['runtime_info'].update(
                outdated_ckpts=[str(canary), f'../{canary.name}', '/etc/passwd'],
                best_ckpt=str(canary), last_ckpt=str(canary), interrupted_ckpt=str(canary),
                keep_ckpt_ids=['../../x', -1]),
            config_with_code=lambda state: state['meta'].update(
                cfg=f'import os\nos.mkdir({mark!r})'),
            config_names_code=lambda state: state['meta'].update(
                cfg=f'model = dict(type="os.mkdir", path={mark!r})\ndefault_scope = "mmseg"'),
            control=lambda state: state['meta'].update(
                dataset_meta=dict(classes=['\x1b[2J\x07', 'a\nb', '<script>x', 'x' * 10_000])),
            no_meta=lambda state: state.update(meta=None),
            numbers=lambda state: state.update(state_dict={5: 6}, optimizer=7)).items():
        state = pickle.loads(pickle.dumps(good))
        change(state)
        torch.save(state, folder / f'{name}.pth')
        made.append(folder / f'{name}.pth')
    return made


def hostile_work_dirs(folder: Path, good: Path, ran: Path, canary: Path) -> list[Path]:
    """Work directories with a good checkpoint and hostile files beside it.

    Args:
        folder: where they are written.
        good: a true work directory.
        ran: what appears where code ran.
        canary: a file that no door may touch.
    """
    made = []

    def begin(name: str) -> Path:
        made.append(folder / name)
        shutil.copytree(good, made[-1], symlinks=True)
        return made[-1]

    place = begin('config_with_code')
    for path in place.glob('*.py'):
        path.write_text(f'import os\nos.mkdir({str(ran)!r})\n' + path.read_text())
    state = torch.load(place / 'iter_2.pth', weights_only=False)
    state['meta'].pop('cfg')
    torch.save(state, place / 'iter_2.pth')
    place = begin('links')
    for name in ('iter_77.pth', 'epoch_77.pth', 'best_mIoU_iter_77.pth', '.iter_5.pth.1.partial'):
        os.symlink(canary, place / name)
    (place / 'last_checkpoint').write_text(str(canary))
    place = begin('notes')
    (place / '.training').write_text('{"host": [1], "pid": 1e400, "started": {}, "since": "\\n"}')
    (place / 'bad_images.jsonl').write_text('[1]\n{"file": [], "problem": 5}\n{"fi\n' + '[' * 9999)
    (place / 'last_checkpoint').write_bytes(bytes(range(256)))
    place = begin('logs')
    run = next(path for path in place.iterdir() if (path / 'vis_data').is_dir())
    (run / 'vis_data' / 'scalars.json').write_text(
        '{"step": [1], "loss": "x"}\n{"st\n' + '[' * 99999)
    path, = place.rglob('segmentation.json')
    path.write_text(json.dumps(dict(
        format='convnext_dense.segmentation/1', classes=5, images=[[]])))
    place = begin('names')
    path, = place.rglob('segmentation.json')
    results = json.loads(path.read_text())
    results['classes'][:2] = ['\x1b[2J\n', '<script>x</script>']
    path.write_text(json.dumps(results))
    for number, value in enumerate((5, [5], {'a': []}, 1e999)):
        place = begin(f'results_{number}')
        path, = place.rglob('segmentation.json')
        path.write_text(json.dumps(dict(results, images=value if number < 2 else [
            dict(results['images'][0], classes=value)])))
    place = begin('sibling')
    state = torch.load(place / 'iter_2.pth', weights_only=False)
    torch.save(dict(state, meta=dict(iter=[9], epoch={})), place / 'iter_9.pth')
    return made


#: nine levels of ten references: a billion names
LAUGHS = 'a0: &a0 [lol]\n' + ''.join(
    f'a{level}: &a{level} [{", ".join([f"*a{level - 1}"] * 10)}]\n' for level in range(1, 10)
) + 'names: *a9\ntrain: .\n'
ENTITIES = '<!DOCTYPE a [<!ENTITY e0 "lol">' + ''.join(
    f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10)
) + ']><annotation><object><name>&e9;</name></object></annotation>'


def hostile_archives(folder: Path) -> list[Path]:
    """Zip files of images for ``new``."""
    made = []
    for name, members in dict(
            climbing={'../../escaped.txt': b'x'}, absolute={'/escaped.txt': b'x'},
            drive={'c:/escaped.txt': b'x'}, backslash={'..\\..\\escaped.txt': b'x'},
            bomb={f'{number}.png': bytes(10**8) for number in range(5)},
            aliases={'data.yaml': LAUGHS.encode(), 'a.jpg': b'x', 'a.txt': b'0 .5 .5 .5 .5'},
            everything={'data.yaml': b'names: [a]\ntrain: /\nval: /proc', 'a.jpg': b'x'},
            deep={'a.json': b'{"images": [], "annotations": [], "categories": ' + b'[' * 99999},
            entities={'a.xml': ENTITIES.encode(), 'a.jpg': b'x'},
            numbers={'a.json': b'{"images": [{"id": 1, "file_name": "a.jpg", "width": 1e999, '
                               b'"height": -1}], "annotations": [5], "categories": [{}]}'},
            names={'\x1b[2J\n<script>.jpg': b'x', 'classes.txt': b'\x1b[2J\n\n'}).items():
        made.append(folder / f'{name}.zip')
        archive(made[-1], members, zipfile.ZIP_DEFLATED)
    link = zipfile.ZipInfo('link')
    link.create_system, link.external_attr = 3, 0o120777 << 16
    made.append(folder / 'link.zip')
    with zipfile.ZipFile(made[-1], 'w') as file:
        file.writestr(link, '/etc')
        file.writestr('link/escaped.txt', b'x')
    encrypted = bytearray((folder / 'absolute.zip').read_bytes().replace(b'/escaped', b'aescaped'))
    for mark, place in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        encrypted[encrypted.find(mark) + place] |= 1
    made.append(folder / 'encrypted.zip')
    made[-1].write_bytes(encrypted)
    made.append(folder / 'torn.zip')
    made[-1].write_bytes((folder / 'bomb.zip').read_bytes()[:3000])
    return made


def hostile_images(folder: Path) -> list[Path]:
    """Images that claim 20,000 x 20,000 pixels, one with and one without them; and no image."""
    made = []
    for name, rows in dict(empty=0, black=20_000).items():
        packer = zlib.compressobj(9)
        data = b''.join(packer.compress(bytes(20_001)) for _ in range(rows)) + packer.flush()
        chunks = [(b'IHDR', struct.pack('>IIBBBBB', 20_000, 20_000, 8, 0, 0, 0, 0)),
                  (b'IDAT', data), (b'IEND', b'')]
        made.append(folder / f'{name}.png')
        made[-1].write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
            struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
            for kind, body in chunks))
    for name in ('code.jpg', 'code.npy', 'code.mp4', 'code\x1b[2J\n.png'):
        made.append(folder / name)
        made[-1].write_bytes(pickle.dumps(Code(os.system, 'true')))
    np.save(folder / 'objects.npy', np.array([Code(os.system, 'true')]), allow_pickle=True)
    return [*made, folder / 'objects.npy']
