"""The Python code that README and docs/predict.md print runs as it stands."""
import re
from pathlib import Path

import cv2
import pytest

CLONE = Path(__file__).parents[2]


@pytest.mark.parametrize('file', ['README.md', 'docs/predict.md'])
def test_the_printed_code_draws_two_images(file, detector, images, tmp_path, monkeypatch, capsys):
    block, = (block for block in re.findall(r'^```python\n(.*?)^```', (CLONE / file).read_text(),
                                            re.M | re.S) if 'Predictor' in block)
    folder = tmp_path / re.search(r"Predictor\('(.*?)'", block)[1]
    folder.parent.mkdir()
    folder.symlink_to(detector)
    monkeypatch.chdir(tmp_path)
    for name, image in zip(('a.jpg', 'b.jpg'), images):
        cv2.imwrite(name, cv2.imread(str(image)))
    exec(block, {})
    assert capsys.readouterr().out.count('.jpg') == 2
    assert cv2.imread('drawn/b.jpg').shape == cv2.imread('b.jpg').shape
