"""Images of one scene stay together, every class stays in training, and a seed gives one split."""
from collections import Counter

import pytest

from convnext_dense.datasets.splitting import choose_validation, groups_of


@pytest.mark.parametrize('names, groups', [
    # frames of videos: CamVid's sequences
    (['0001TP_006690.png', '0001TP_006720.png', '0016E5_00390.png'],
     ['0001TP', '0001TP', '0016E5']),
    (['video_a-frame12.jpg', 'video_a-frame13.jpg', 'video_b-frame1.jpg'],
     ['video_a', 'video_a', 'video_b']),
    # copies that Roboflow made of one image
    (['dog_jpg.rf.0a1b.jpg', 'dog_jpg.rf.77ff.jpg', 'cat_jpg.rf.0a1b.jpg'],
     ['dog_jpg', 'dog_jpg', 'cat_jpg']),
    # folders of cameras
    (['cam1/a.jpg', 'cam1/b.jpg', 'cam2/a.jpg'], ['cam1', 'cam1', 'cam2']),
    # one scene, or numbers of a camera, or names of things: each image alone
    (['IMG_0001.jpg', 'IMG_0002.jpg'], ['IMG_0001', 'IMG_0002']),
    (['seq1_001.jpg', 'seq1_002.jpg'], ['seq1_001', 'seq1_002']),
    (['apple_1.jpg', 'apple_2.jpg', 'pear_1.jpg'], ['apple_1', 'apple_2', 'pear_1']),
    (['0001.jpg', '0002.jpg'], ['0001', '0002']),
])
def test_file_names_tell_scenes_apart(names, groups):
    assert groups_of(names) == groups


def test_a_fifth_validates_by_whole_groups():
    groups = [f'scene {number // 5}' for number in range(50)]
    chosen = choose_validation(groups, [['cat']] * 50)
    assert sum(chosen) == 10
    by_group = {group: {flag for other, flag in zip(groups, chosen) if other == group}
                for group in groups}
    assert all(len(flags) == 1 for flags in by_group.values())


def test_a_seed_gives_one_split_whatever_the_order_of_the_images():
    groups = [str(number) for number in range(30)]
    classes = [['cat']] * 30
    first = choose_validation(groups, classes)
    again = choose_validation(groups[::-1], classes)[::-1]
    assert first == again and first != choose_validation(groups, classes, seed=1)


@pytest.mark.parametrize('seed', range(20))
def test_every_class_stays_in_training(seed):
    classes = [['common']] * 17 + [['common', 'rare'], ['rare'], ['single']]
    chosen = choose_validation([str(number) for number in range(20)], classes, seed)
    training = Counter(name for names, val in zip(classes, chosen) if not val for name in names)
    assert set(training) == {'common', 'rare', 'single'}
    assert sum(chosen) == 4


def test_two_images_and_one_large_scene_are_divided_all_the_same():
    assert sorted(choose_validation(['a', 'b'], [['cat'], ['cat']])) == [False, True]
    assert sum(choose_validation(['s'] * 10, [['cat']] * 10)) == 2
    assert sum(choose_validation(['s'] * 9 + ['t'], [['cat']] * 10)) == 1
