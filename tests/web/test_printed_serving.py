"""What docs/serve.md prints is run as it stands, but for the port."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from printed_commands import CLONE, walk

from convnext_dense.cli import main

PAGE = (CLONE / 'docs/serve.md').read_text()
ADDRESS = 'http://127.0.0.1:8000'


@pytest.fixture
def street(images, tmp_path, monkeypatch):
    """A folder with an image to type commands in."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(images[0], 'street.jpg')


def test_the_commands_come_to_serve(detector, segmenter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('convnext_dense.web.server.run_server', lambda app, listening: None)
    Path('work_dirs').mkdir()
    for name, folder in (('fruit', detector), ('convnext', detector), ('swin', segmenter)):
        Path(f'work_dirs/{name}').symlink_to(folder)
    for command in walk('serving'):
        words = [word for word in command.words[1:] if word not in ('--port', '8080')]
        assert main([*words, '--port', '0', '--device', 'cpu']) == 0
    printed = capsys.readouterr().out
    assert 'serving fruit at http' in printed and 'serving convnext and swin at http' in printed


def test_the_program_asks_the_endpoint(server, trained, images, street, capsys):
    pytest.importorskip('requests', reason='requests is not installed (extra: peers)')
    block, = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
    assert ADDRESS in block
    exec(block.replace(f'{ADDRESS}/', server.url).replace('threshold=.5', 'threshold=0'), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(trained[0].predictor(images[0])) > 0


@pytest.mark.skipif(not shutil.which('curl'), reason='no curl (Debian: apt-get install curl)')
def test_curl_asks_the_endpoint(server, street):
    line, = re.findall(r'^curl .*$', PAGE, re.M)
    done = subprocess.run(['bash', '-c', line.replace(f'{ADDRESS}/', server.url)],
                          capture_output=True, text=True, check=True)
    assert done.stdout.startswith('{"model":"detector","task":"instances","image":{"name":"street')


def test_every_status_that_is_answered_is_in_the_table(server):
    from benchmarks.uploads import ask
    schema = ask(server.url, path='/api/openapi.json').json
    table = PAGE.split('An error is ')[1]
    for status in schema['paths']['/api/predict']['post']['responses']:
        assert status == '200' or status in table
    keys = schema['components']['schemas']
    for key in [*keys['Prediction']['properties'], *keys['Found']['properties']]:
        assert f'`{key}`' in PAGE, key
