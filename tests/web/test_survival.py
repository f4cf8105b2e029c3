"""Good and bad images in any order, in parallel, from clients of which some give up."""
import gc
from collections import Counter

import psutil
import pytest

from benchmarks.robustness_serve import bombard, measure, mixed_uploads
from benchmarks.uploads import ask, bad_uploads, good_uploads


def test_a_server_survives_good_and_bad_images(server):
    """Each kind once, to both models in turns; the long form is the next test."""
    server.memory = psutil.Process().memory_info
    uploads = mixed_uploads(len(bad_uploads()) + 2 * len(good_uploads()) + 30)
    before = ask(server.url, uploads[0]).status
    counts, seconds, _, faults = bombard(server, uploads, ['detector', 'segmenter'])
    assert faults == []
    assert counts[200] >= 20 and counts[413] >= 5 and counts[415] >= 5 and counts[422] >= 5
    assert counts['given up'] >= 8 and len(seconds) == len(uploads) - counts['given up']
    assert ask(server.url, uploads[0]).status == before


def test_the_uploads_hold_every_kind():
    names = Counter(upload.name for upload in mixed_uploads(200))
    assert set(names) >= {upload.name for upload in [*good_uploads(), *bad_uploads()]}
    assert len(names) > 100


@pytest.mark.slow
def test_200_uploads_leave_the_server_as_it_was(detector, segmenter, tmp_path):  # noqa: F811
    """In a process of its own: memory, uploads that are left, its log, its end; 2 minutes."""
    gc.collect()
    assert measure(tmp_path, 200, models=[detector, segmenter]) == 0
