"""Short names of models, and the families that they belong to.

Config names are ``<method>_<backbone>_<recipe>_<data>``, a backbone ``<family>-<size>-<weights>``.
"""
import re
from collections.abc import Sequence
from itertools import combinations

from convnext_dense.analysis.comparison import Model

SIZE = re.compile(r'-(atto|femto|pico|nano|tiny|small|base|large|xlarge|huge|xl|[tsblh])(?=-|$)')


def short_names(models: Sequence[Model]) -> dict[str, str]:
    """Labels by model name: the fewest words of the config's name that tell the models apart.

    Names that the user gave stay; so do config names that no words of theirs tell apart.
    """
    labels = {model.name: model.name for model in models}
    words = {model.name: model.name.split('_') for model in models if not model.named}
    shortest = min(map(len, words.values()), default=0)
    for positions in (chosen for count in range(1, shortest + 1)
                      for chosen in combinations(range(shortest), count)):
        short = {name: ' '.join(parts[i] for i in positions) for name, parts in words.items()}
        if len(set(short.values())) == len(short) > 1:
            return {**labels, **short}
    return labels


def family_and_size(label: str) -> tuple[str, str]:
    """The family of a model and its place in it, such as ``('convnext-in22k', 'XL')``.

    The models of a family differ in size alone: method and pre-training belong to the family.
    """
    size = SIZE.search(label)
    if size:
        return label[:size.start()] + label[size.end():], size[1].upper()
    method, space, backbone = label.rpartition(' ')
    family, _, variant = backbone.partition('-')  # r50, x101-32x4d
    return method + space + family, (variant or backbone).upper()
