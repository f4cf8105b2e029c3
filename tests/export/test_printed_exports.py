"""The commands of docs/export.md make and use exports, run as they are printed."""
import shutil
from pathlib import Path

import pytest
from printed_commands import walk

from convnext_dense.cli import main


@pytest.fixture(autouse=True)
def streets(clear_segmenter, images, tmp_path, monkeypatch):
    """A trained segmenter and photos in a folder to type commands in."""
    monkeypatch.chdir(tmp_path)
    for folder in ('work_dirs/streets', 'photos'):
        Path(folder).mkdir(parents=True)
    shutil.copy(clear_segmenter, 'work_dirs/streets/iter_2.pth')
    for image in images:
        shutil.copy(image, 'photos')


def test_an_export_is_made_predicts_and_comes_to_be_served(images, monkeypatch, capsys):
    monkeypatch.setattr('convnext_dense.web.server.run_server', lambda app, listening: None)
    for command in walk('exports'):
        if command.words[0] != 'pip' and '--int8' not in command.words:
            more = {'predict': ['--device', 'cpu'], 'serve': ['--port', '0']}.get(
                command.words[1], [])
            assert main([*command.words[1:], *more]) == 0
    assert len(list(Path('predictions/labels').iterdir())) == len(images)
    assert 'serving streets-onnx at http://127.0.0.1:' in capsys.readouterr().out


@pytest.mark.slow
def test_an_export_in_int8_is_made():
    command, = (command for command in walk('exports') if '--int8' in command.words)
    assert main([*command.words[1:], '--calibration-count', '2', '--evaluate', '2']) == 0
    assert Path('exports/streets-int8/MODEL_CARD.md').exists()
