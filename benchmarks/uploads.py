"""Files that people and attackers upload, and the requests that carry them.

Each kind comes with the statuses that answer it: an image that can be decoded is predicted, and
anything else is refused in one line.
"""
import io
import json
import pickle
import random
import struct
import uuid
import zlib
from functools import cache
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image, ImageOps

GOOD = (200, )
REFUSED = (413, 415, 422)
ORIENTATION = 0x112  # EXIF tag


class Upload(NamedTuple):
    """A file to send.

    Attributes:
        name: of the file.
        content: of the file.
        statuses: that may answer it.
    """
    name: str
    content: bytes
    statuses: tuple[int, ...]


class Answer(NamedTuple):
    """What came back."""
    status: int
    headers: dict
    content: bytes

    @property
    def json(self):
        return json.loads(self.content)


def form(upload, field='image'):
    """The body of a form with one file, and its content type."""
    boundary = uuid.uuid4().hex
    name = upload.name.replace('"', '%22').replace('\n', '%0A').replace('\r', '%0D')
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            'Content-Type: application/octet-stream\r\n\r\n').encode()
    return head + upload.content + f'\r\n--{boundary}--\r\n'.encode(), \
        f'multipart/form-data; boundary={boundary}'


def ask(url, upload=None, path='/api/predict', method=None, headers=(), timeout=120, **parameters):
    """Send an upload, or ask for a page; returns the :class:`Answer`."""
    where = urlsplit(url)
    query = urlencode({name: str(value).lower() if isinstance(value, bool) else value
                       for name, value in parameters.items()})
    body, kind = form(upload) if upload else (None, None)
    connection = HTTPConnection(where.hostname, where.port, timeout=timeout)
    try:
        connection.request(method or ('POST' if upload else 'GET'),
                           f'{path}?{query}' if query else path, body,
                           dict(headers, **({'Content-Type': kind} if kind else {})))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def send(url, upload, share=1.):
    """Send a part of an upload, or all of it; returns the connection, for whoever hangs up."""
    where = urlsplit(url)
    body, kind = form(upload)
    connection = HTTPConnection(where.hostname, where.port, timeout=30)
    connection.putrequest('POST', '/api/predict')
    connection.putheader('Content-Type', kind)
    connection.putheader('Content-Length', str(len(body)))
    connection.endheaders(body[:int(share * len(body))])
    return connection


def encoded(pixels, kind, mode=None, **options):
    """An array as an image file of pillow's kind."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


@cache
def good_uploads(width=96, height=64, seed=0):
    """Images of every kind that cameras, programs and people make, all of the same content."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    frames = [Image.fromarray(np.roll(pixels, 8 * step, 1)) for step in range(3)]
    animated = dict(save_all=True, append_images=frames[1:], duration=100)
    made = {
        'plain.png': encoded(pixels, 'PNG'), 'plain.jpg': encoded(pixels, 'JPEG', quality=92),
        'progressive.jpg': encoded(pixels, 'JPEG', progressive=True),
        'plain.webp': encoded(pixels, 'WEBP', lossless=True), 'plain.bmp': encoded(pixels, 'BMP'),
        'plain.tif': encoded(pixels, 'TIFF'), 'grey.jpg': encoded(pixels, 'JPEG', 'L'),
        'cmyk.jpg': encoded(pixels, 'JPEG', 'CMYK'), 'palette.png': encoded(pixels, 'PNG', 'P'),
        'sixteen.png': encoded(pixels[..., 0].astype(np.uint16) * 257, 'PNG'),
        'clear.png': encoded(np.dstack([pixels, pixels[..., :1]]), 'PNG'),
        'clear.webp': encoded(np.dstack([pixels, pixels[..., :1]]), 'WEBP'),
        'still.gif': encoded(pixels, 'GIF')}
    for name, kind in (('moving.gif', 'GIF'), ('moving.webp', 'WEBP'), ('moving.png', 'PNG')):
        file = io.BytesIO()
        frames[0].save(file, kind, **animated)
        made[name] = file.getvalue()
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        made[f'turned_{orientation}.jpg'] = encoded(pixels, 'JPEG', exif=exif)
    return [Upload(name, content, GOOD) for name, content in made.items()]


def upright(upload):
    """The pixels of an upload as people see them: RGB, (H, W, 3)."""
    image = Image.open(io.BytesIO(upload.content))
    return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


@cache
def png(width, height, rows=0, kind=0):
    """A PNG that states a size, with ``rows`` rows of black pixels, packed thousandfold."""
    packer = zlib.compressobj(9)
    data = b''.join(packer.compress(bytes(width + 1)) for _ in range(rows)) + packer.flush()
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, kind, 0, 0, 0)),
              (b'IDAT', data), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
        for name, body in chunks)


@cache
def bad_uploads(seed=0):
    """Bombs, sizes that cannot be, files that are none, cut and changed ones."""
    good = {upload.name: upload.content for upload in good_uploads(seed=seed)}
    jpeg, still = bytearray(good['plain.jpg']), good['plain.png']
    frame = jpeg.index(b'\xff\xc0')  # where a JPEG states its size
    huge_jpeg = bytes(jpeg[:frame + 5]) + struct.pack('>HH', 65000, 65000) + bytes(
        jpeg[frame + 9:])
    progressive = good['progressive.jpg']
    scan = progressive.rindex(b'\xff\xda')
    many_scans = progressive[:scan] + progressive[scan:-2] * 2000 + b'\xff\xd9'
    bmp = good['plain.bmp']
    gif = good['still.gif']
    made = {
        'bomb.png': png(12_000, 12_000, 12_000), 'claim.png': png(20_000, 20_000),
        'largest.png': png(2**31 - 1, 2**31 - 1), 'beyond.png': png(2**32 - 1, 2**32 - 1),
        'nothing.png': png(0, 0), 'line.png': png(1, 40_000_000), 'huge.jpg': huge_jpeg,
        'scans.jpg': many_scans,
        'huge.bmp': bmp[:18] + struct.pack('<ii', 2**20, 2**20) + bmp[26:],
        'negative.bmp': bmp[:18] + struct.pack('<ii', -5, -2**31) + bmp[26:],
        'huge.gif': gif[:6] + struct.pack('<HH', 30000, 30000) + gif[10:],
        'huge.tif': b'II*\0' + struct.pack('<IH', 8, 2) + b''.join(
            struct.pack('<HHII', tag, 4, 1, 2**30) for tag in (256, 257)) + bytes(4),
        'loop.tif': b'II*\0' + struct.pack('<IHI', 8, 0, 8),
        'empty.jpg': b'', 'text.png': b'a text in the place of an image\n' * 40,
        'page.jpg': b'<!doctype html><script>alert(1)</script>', 'paper.pdf': b'%PDF-1.7\n' * 9,
        'drawing.svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        'archive.zip': b'PK\3\4' + bytes(60), 'code.pkl': pickle.dumps(print),
        'sound.webp': b'RIFF\x24\0\0\0WAVEfmt ' + bytes(24),
        'header.png': b'\x89PNG\r\n\x1a\n', 'header.jpg': b'\xff\xd8\xff', 'header.gif': b'GIF89a',
        'header.bmp': b'BM', 'noise.jpg': b'\xff\xd8\xff' + random.Random(seed).randbytes(4000),
        '../../etc/\x1b[2J\n"passwd': b'x',
        **{f'cut{suffix}': good[f'plain{suffix}'][:len(good[f'plain{suffix}']) * 2 // 3]
           for suffix in ('.png', '.jpg', '.webp')},
        'wrong_end.png': still[:-4] + b'\0\0\0\0'}
    return [Upload(name, content, (200, *REFUSED) if name == 'wrong_end.png' else REFUSED)
            for name, content in made.items()]


def changed_uploads(count, seed=0):
    """Good images with some bytes changed: each is predicted, or refused."""
    rng = random.Random(seed)
    good = good_uploads(seed=seed)
    made = []
    for number in range(count):
        upload = rng.choice(good)
        content = bytearray(upload.content)
        for _ in range(rng.choice([1, 3, 30])):
            # headers are short and matter most
            end = rng.choice([min(64, len(content)), len(content)])
            content[rng.randrange(end)] = rng.randrange(256)
        made.append(Upload(f'changed_{number}_{upload.name}', bytes(content), (200, *REFUSED)))
    return made
