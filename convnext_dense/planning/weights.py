"""Whether published weights can be had on this machine."""
from __future__ import annotations

from urllib.error import URLError
from urllib.request import Request, urlopen

from convnext_dense.checkpoints import fetching, zoo

SECONDS = 4.  # for the server's answer


def can_be_had(name: str) -> bool:
    """Whether the weights of that name lie here already, or their server answers."""
    url = zoo.entry(name).url
    if fetching.find(zoo.entry(name)):
        return True
    try:
        with urlopen(Request(url, method='HEAD'), timeout=SECONDS):
            return True
    except (URLError, OSError, ValueError):
        return False
