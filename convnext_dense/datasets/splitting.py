"""Which images train and which validate: by groups, so that no scene is on both sides."""
from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

VAL_SHARE = 0.2
MOST_VAL = 2000  # images; more only make each evaluation longer
_ROBOFLOW = re.compile(r'(?P<original>.+_(jpe?g|png|bmp|webp|tiff?))\.rf\.[0-9a-f]+$', re.I)
_FRAME = re.compile(r'(?P<scene>.*?)[\W_]*(?:frame|img|image)?[\W_]*\d+$', re.I)
_SCENE = re.compile(r'\d|video|vid|seq|scene|clip|cam|take|drive|shot|movie', re.I)


def groups_of(names: Sequence[str]) -> list[str]:
    """The video, scene or original that each image belongs to, as its name tells.

    Copies that Roboflow made of one image belong together; so do frames, where the name in front
    of their number tells more than one scene apart and speaks of scenes (a number or a word such as
    video, camera, sequence); so do images in folders of such names. Any other image stands alone.

    Args:
        names: paths of the images, with ``/``.

    Returns:
        A key for each image.

    >>> groups_of(['0001TP_000010.png', '0001TP_000020.png', 'Seq05_01.png', 'Seq05_02.png'])
    ['0001TP', '0001TP', 'Seq05', 'Seq05']
    >>> groups_of(['apple_1.jpg', 'apple_2.jpg'])
    ['apple_1', 'apple_2']
    """
    stems = [name.rpartition('.')[0] or name for name in names]
    originals = [match['original'] if (match := _ROBOFLOW.fullmatch(stem)) else stem
                 for stem in stems]
    scenes = [_scene(original) for original in originals]
    told_apart = len(set(scenes) - {None}) > 1
    return [scene if scene is not None and told_apart else original
            for scene, original in zip(scenes, originals)]


def _scene(stem):
    folder, _, name = stem.rpartition('/')
    match = _FRAME.fullmatch(name)
    prefix = match['scene'] if match else name
    if match and prefix and _SCENE.search(prefix):
        return f'{folder}/{prefix}' if folder else prefix
    return folder if folder and _SCENE.search(folder) else None


def choose_validation(groups: Sequence[str], classes: Sequence[Sequence[str]], seed: int = 0,
                      share: float = VAL_SHARE) -> list[bool]:
    """Which images validate: whole groups, about a fifth, every class staying in training.

    Args:
        groups: the group of each image.
        classes: the classes in each image.
        seed: of the order in which groups are tried.
        share: of the images.

    Returns:
        True for an image of the validation set. Where groups are so few that none could go,
        single images do.
    """
    wanted = min(max(round(share * len(groups)), 1), MOST_VAL)
    chosen = _choose(groups, classes, seed, wanted)
    if not chosen:
        groups = [str(number) for number in range(len(groups))]
        chosen = _choose(groups, classes, seed, wanted) or {groups[-1]}
    return [group in chosen for group in groups]


def _choose(groups, classes, seed, wanted):
    """Groups of together about ``wanted`` images."""
    sizes = Counter(groups)
    inside: dict[str, Counter] = {group: Counter() for group in sizes}
    for group, names in zip(groups, classes):
        inside[group].update(names)
    left = sum(inside.values(), Counter())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    taken = 0
    for group in order:
        rest = left - inside[group]
        if taken + sizes[group] <= max(wanted, 1) * 1.25 and len(chosen) + 1 < len(sizes) and \
                all(rest[name] for name in inside[group]):
            chosen.add(group)
            left, taken = rest, taken + sizes[group]
            if taken >= wanted:
                break
    return chosen
