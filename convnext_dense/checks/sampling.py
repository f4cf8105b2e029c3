"""Which of many things a quick check looks at."""


def evenly(items, count):
    """At most ``count`` of the items, evenly spaced, the first one always."""
    step = max(len(items) / count, 1)
    return [items[int(number * step)] for number in range(min(count, len(items)))]
