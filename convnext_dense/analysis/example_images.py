"""Images on which models differ, as a section of the comparison's page."""
from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2

from convnext_dense.errors import html_text

if TYPE_CHECKING:
    from convnext_dense.analysis.disagreements import Disagreement

TITLE = 'Where the models disagree most'
TEXT = ('The validation images on which the mistakes of one model outweigh those of another most, '
        'the largest difference first: the annotations, and what the first training of each model '
        'found. They were chosen for their differences, and say nothing of which model is better.')
QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 85)
EXAMPLE_STYLE = '''
.example { display: flex; flex-wrap: wrap; gap: 12px; margin: .4em 0 1.6em; }
.example figure { flex: 1 1 160px; max-width: 320px; }
.example figcaption { font-weight: 400; font-size: .9rem; overflow-wrap: anywhere; }
.example img { width: 100%; height: auto; display: block; }
'''


def html_examples(examples: Sequence[Disagreement]) -> str:
    """The section, or an empty text where there are no images; the page holds them itself."""
    if not examples:
        return ''
    rows = []
    for example in examples:
        figures = ''.join(
            f'<figure><img alt="{html_text(caption)}" src="{_source(image)}">'
            f'<figcaption>{html_text(caption)}</figcaption></figure>'
            for caption, image in example.drawings)
        rows.append(f'<h3>{html_text(example.name)}</h3><div class="example">{figures}</div>')
    return f'<section><h2>{TITLE}</h2><p>{TEXT}</p>{"".join(rows)}</section>'


def _source(image):
    encoded = cv2.imencode('.jpg', image, QUALITY)[1]
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'
