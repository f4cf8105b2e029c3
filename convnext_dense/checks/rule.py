"""What a rule on a config is, and what it looks at."""
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from convnext_dense.checks.arguments import class_of
from convnext_dense.datasets.splits import Split, is_local


class Settings(NamedTuple):
    """What the rules look at.

    Attributes:
        cfg (mmengine.Config): the config.
        model (dict): its model, without a wrapper for test-time augmentation.
        splits (Sequence[Split]): its data sets.
        training (bool): what stops training counts, besides what stops testing.
    """
    cfg: Any
    model: dict
    splits: list[Split]
    training: bool

    def heads(self) -> Iterator[tuple[str, dict]]:
        """mmseg's heads with their keys, those of other kinds left out."""
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead
        for key in ('decode_head', 'auxiliary_head'):
            heads: Any = self.model.get(key)
            several = isinstance(heads, (list, tuple))
            for number, head in enumerate(heads if several else [heads]):
                kind = class_of(head, 'model', self.cfg) if isinstance(head, dict) else None
                if isinstance(kind, type) and issubclass(kind, BaseDecodeHead):
                    yield f'model.{key}.{number}' if several else f'model.{key}', head

    def of(self, kind: str, training: bool | None = None) -> list[Split]:
        """The data sets of a kind, only those for training, or only the others."""
        return [split for split in self.splits if split.kind == kind and training in (
            None, split.name.startswith('train'))]


class Rule(NamedTuple):
    """One rule.

    Attributes:
        name (str): what it finds.
        looks_at (str): the keys that it compares.
        check (Callable): yields messages.
        stops (bool): such a run cannot work; else it is only doubtful.
    """
    name: str
    looks_at: str
    check: Callable[[Settings], Iterable[str]]
    stops: bool = True


def as_list(value: Any) -> list:
    """A list of what may be one thing, several or None."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def training_images(settings: Settings) -> int | None:
    """Images of the training set where counting them is quick, else None."""
    found = settings.of('labels', training=True)
    loader = settings.cfg.get('train_dataloader') or {}
    if len(found) != 1 or not is_local(found[0].cfg) or (
            loader.get('dataset') or {}).get('type') != found[0].cfg.get('type'):
        return None
    return len(samples_of(found[0]))


def samples_of(split: Split) -> list[dict[str, Any]]:
    """The samples of a data set on this machine, none where its folder is missing."""
    if not is_local(split.cfg):
        return []
    try:
        return split.dataset.load_data_list()
    except (OSError, AssertionError):
        return []
