"""Which of many things a quick check looks at."""
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar('Item')


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of the items, evenly spaced, the first one always."""
    step = max(len(items) / count, 1)
    return [items[int(number * step)] for number in range(min(count, len(items)))]
