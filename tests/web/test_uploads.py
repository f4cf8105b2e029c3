"""What is known of an uploaded file before anything decodes it."""
import io

import pytest

from benchmarks.uploads import bad_uploads, good_uploads, png
from convnext_dense.errors import InputError
from convnext_dense.web.uploads import TooLarge, WrongType, keep_upload, shown_name

BAD = {upload.name: upload.content for upload in bad_uploads()}


def keep(content, path, name='photo.png', max_pixels=25_000_000):
    keep_upload(io.BytesIO(content), path, name, max_pixels)


@pytest.mark.parametrize('upload', good_uploads(), ids=lambda one: one.name)
def test_a_good_file_is_kept_as_it_is(upload, tmp_path):
    keep(upload.content, tmp_path / 'kept')
    assert (tmp_path / 'kept').read_bytes() == upload.content


@pytest.mark.parametrize('name', ['bomb.png', 'claim.png', 'largest.png', 'line.png', 'huge.jpg',
                                  'huge.bmp', 'huge.gif'])
def test_too_many_pixels_are_seen_in_the_header(name, tmp_path):
    with pytest.raises(TooLarge, match=rf'^{name} has \d+x\d+ pixels, and images of at most 25 '
                       'million are taken here'):
        keep(BAD[name], tmp_path / 'kept', name)


def test_the_limit_itself_is_taken(tmp_path):
    keep(png(100, 50), tmp_path / 'kept', max_pixels=5000)
    with pytest.raises(TooLarge):
        keep(png(100, 50), tmp_path / 'kept', max_pixels=4999)


def test_a_side_is_bounded_too(tmp_path):
    keep(png(16_384, 1), tmp_path / 'kept')
    with pytest.raises(TooLarge, match='photo.png has 1x16385 pixels, and sides of at most 16384'):
        keep(png(1, 16_385), tmp_path / 'kept')


@pytest.mark.parametrize('name', ['text.png', 'page.jpg', 'paper.pdf', 'drawing.svg', 'code.pkl',
                                  'archive.zip', 'sound.webp'])
def test_what_is_no_image_is_of_the_wrong_type_whatever_it_is_called(name, tmp_path):
    with pytest.raises(WrongType, match=rf'^{name} is no image that is taken here: send JPEG, PNG'):
        keep(BAD[name], tmp_path / 'kept', name)


@pytest.mark.parametrize('name, words', [
    ('empty.jpg', 'is an empty file'), ('header.png', 'begins like a PNG file, but has no size'),
    ('scans.jpg', 'has 20\\d\\d scans')])
def test_damage_that_is_seen_without_decoding_is_named(name, words, tmp_path):
    with pytest.raises(InputError, match=f'^{name} {words}'):
        keep(BAD[name], tmp_path / 'kept', name)


@pytest.mark.parametrize('sent, shown', [
    ('photo.jpg', 'photo.jpg'), ('../../etc/passwd', 'passwd'), ('C:\\my\\cat.png', 'cat.png'),
    ('a\x1b[2J\n.png', r'a\x1b[2J\n.png'), ('', 'the image'), (None, 'the image'),
    ('x' * 300, 'x' * 100), ('Übung ö.jpg', 'Übung ö.jpg')])
def test_the_name_of_a_file_is_its_last_part_and_printable(sent, shown):
    assert shown_name(sent) == shown
