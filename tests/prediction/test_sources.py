"""What the arguments of a command mean, and what each source is called."""
import cv2
import numpy as np
import pytest

from convnext_dense.errors import InputError
from convnext_dense.prediction.sources import Source, count_images, find_sources, frames_of


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files of images in folders; the contents do not matter here."""
    monkeypatch.chdir(tmp_path)
    for name in ('in/cam1/1.jpg', 'in/cam2/1.JPG', 'in/cam2/2.png', 'in/notes.txt',
                 'in/.hidden.png', 'in/results/old.png', 'other/1.jpg',
                 'other/clip.mp4', 'other/3'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return tmp_path


def names(*arguments, **options):
    return [source.name for source in find_sources(arguments, **options)]


def test_a_folder_is_read_with_its_sub_folders_but_not_the_results(tree):
    assert names('in') == ['cam1/1.jpg', 'cam2/1.JPG', 'cam2/2.png', 'results/old.png']
    assert names('in', leave_out='in/results') == ['cam1/1.jpg', 'cam2/1.JPG', 'cam2/2.png']


def test_files_of_one_name_get_the_path_below_their_common_folder(tree):
    assert names('in/cam1/1.jpg', 'other/1.jpg') == ['in/cam1/1.jpg', 'other/1.jpg']
    assert names('in/cam2/2.png', 'other/1.jpg') == ['2.png', '1.jpg']


def test_a_file_that_is_meant_twice_comes_once(tree):
    assert names('in/cam1/1.jpg', 'in/cam1', './in/cam1/1.jpg') == ['1.jpg']


def test_globs_keep_the_folders_behind_the_pattern(tree):
    assert names('in/*/*.jpg', 'in/*/*.JPG') == ['cam1/1.jpg', 'cam2/1.JPG']
    assert names('in/**/1.*') == ['cam1/1.jpg', 'cam2/1.JPG']
    with pytest.raises(InputError, match='no file matches'):
        find_sources(['in/*.gif'])


def test_a_list_names_files_folders_and_globs(tree):
    assert names('-', listed=['in/cam2/2.png\n', '\n', 'other/*.jpg\r\n']) == ['2.png', '1.jpg']
    with pytest.raises(InputError, match='names no files'):
        find_sources(['-'], [])


def test_label_files_are_called_as_their_images_unless_two_would_be_one(tree):
    for name in ('same/a.jpg', 'same/a.PNG', 'same/b.jpg', 'same/b.jpg.png', 'same/classes.tif'):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b'x')
    assert {source.name: source.stem for source in find_sources(['same'])} == {
        'a.jpg': 'a.jpg', 'a.PNG': 'a.PNG', 'b.jpg': 'b', 'b.jpg.png': 'b.jpg.png',
        'classes.tif': 'classes.tif'}


def test_videos_and_webcams_are_told_from_files(tree):
    assert find_sources(['other/clip.mp4', '0']) == [
        Source('other/clip.mp4', 'clip.mp4', 'video', 'clip'),
        Source(0, 'webcam-0', 'video', 'webcam-0')]
    assert count_images(find_sources(['0'])) is None
    assert find_sources(['other/3'])[0].kind == 'image'  # any file that is named


@pytest.mark.parametrize('argument, words', [
    ('none.jpg', 'none.jpg: no such file'), ('empty', 'empty and its sub-folders hold no image')])
def test_nothing_there_is_an_error(tree, argument, words):
    (tree / 'empty').mkdir()
    with pytest.raises(InputError, match=words):
        find_sources([argument])


def write_video(path, frames, fps=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()


def test_frames_of_a_video_come_with_their_numbers(tmp_path):
    write_video(tmp_path / 'v.mp4', 5)
    (tmp_path / 'torn.avi').write_bytes(b'x')
    sources = find_sources([str(tmp_path)])
    errors = []
    frames = list(frames_of(sources, lambda frame, error: errors.append(str(error))))
    assert [frame.name for frame, _ in frames] == [f'v.mp4#{index}' for index in range(5)]
    assert frames[0][0].fps == 10 and frames[3][1].shape == (48, 64, 3)
    assert abs(int(frames[3][1].mean()) - 60) < 5
    assert len(errors) == 1 and 'torn.avi gives no frames' in errors[0]
    assert count_images([source for source in sources if 'v.mp4' in source.name]) == 5
