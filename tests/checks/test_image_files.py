"""What is said of a file before it is decoded, and how it agrees with the decoders."""
import numpy as np
import pytest
from PIL import Image
from tiny_data import noise_image

from convnext_dense.checks.image_files import (
    MAX_PIXELS,
    explain,
    is_truncated,
    look_at_file,
    oddities,
    orientation,
)

FORMATS = [
    ('RGB', 'a.jpg', {}), ('L', 'a.jpg', {}), ('RGB', 'b.jpeg', dict(progressive=True)),
    ('RGB', 'a.PNG', {}), ('P', 'a.png', {}), ('RGBA', 'b.png', {}), ('RGB', 'a.bmp', {}),
    ('RGB', 'a.webp', {}), ('RGB', 'a.tif', {}), ('RGB', 'a.gif', {})]


@pytest.mark.parametrize('mode, name, settings', FORMATS)
def test_ordinary_files_pass(tmp_path, mode, name, settings):
    path = tmp_path / name
    noise_image(0).convert(mode).save(path, **settings)
    assert look_at_file(str(path)) is None
    assert oddities(str(path)) == []
    assert orientation(str(path)) == 1


@pytest.mark.parametrize('name, settings', [
    ('a.jpg', {}), ('a.jpg', dict(progressive=True)), ('a.jpg', dict(restart_marker_rows=1)),
    ('a.png', {}), ('a.webp', {})])
def test_a_file_with_bytes_behind_its_end_is_whole_and_one_cut_anywhere_is_not(
        tmp_path, name, settings):
    path = tmp_path / name
    thumbnail = Image.Exif()
    thumbnail[0x9286] = b'\xff\xd9' * 9  # what looks like an end, as a thumbnail in the EXIF has
    noise_image(0).save(path, exif=thumbnail, **settings)
    content = path.read_bytes()
    path.write_bytes(content + b'\0' * 500 * (name != 'a.webp'))
    assert not is_truncated(str(path))
    for end in range(12, len(content) - 12, 7):
        path.write_bytes(content[:end])
        assert is_truncated(str(path)), end


def test_a_limit_of_pixels_is_judged_by_the_header_alone(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('1', (20000, 20000)).save(path)
    kind, text = look_at_file(str(path))
    assert text == 'has 20000x20000 pixels, more than bad_images.max_pixels=268435456 allows'
    assert look_at_file(str(path), 20000**2) is None
    assert MAX_PIXELS > 2 * Image.MAX_IMAGE_PIXELS  # OpenCV reads what pillow refuses


def test_what_no_file_is_left_to_the_loader(tmp_path):
    assert look_at_file('s3://bucket/a.jpg') is None
    assert look_at_file(str(tmp_path)) is None
    assert look_at_file(str(tmp_path / 'none.jpg')) is None
    np.save(tmp_path / 'a.npy', np.zeros((4, 5, 6)))
    assert look_at_file(str(tmp_path / 'a.npy')) is None


def test_a_failed_loading_is_explained_by_the_file_where_it_can_be(tmp_path):
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_text('text')
    reasons = {str(tmp_path / 'none.jpg'): 'is missing', str(tmp_path): 'is a folder, expected an '
               'image', str(tmp_path / 'empty.jpg'): 'is an empty file',
               str(tmp_path / 'text.jpg'): 'cannot be read (KeyError: \'band 7\')'}
    assert {path: explain(path, KeyError('band 7')).text for path in reasons} == reasons


def test_oddities(tmp_path):
    noise_image(0).convert('CMYK').save(tmp_path / 'a.jpg')
    assert oddities(str(tmp_path / 'a.jpg')) == ['has CMYK colours']
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / 'b.jpg', 'PNG')
    assert oddities(str(tmp_path / 'b.jpg')) == ['has 16 bits a channel',
                                                 'is a PNG image by content']
