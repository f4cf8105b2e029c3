"""convnext-dense serve, from the command line to answers."""
import os
import signal
import socket

import pytest
from prediction.trained import detector, segmenter, shapes  # noqa: F401

from benchmarks.robustness_serve import ServerProcess
from benchmarks.uploads import Upload, ask
from convnext_dense import Predictor
from convnext_dense.cli import run_command
from convnext_dense.web.app import build_app


def refusal(capsys, *arguments):
    assert run_command('serve', [*map(str, arguments), '--device', 'cpu']) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('error: ') and '\n' not in error
    return error


@pytest.mark.parametrize('arguments, words', [
    (['a', 'b', 'c'], '3 models: give one, or two to compare them'),
    (['a', 'b', '--weights', 'w.pth'], '--weights names 1 files for 2 models'),
    (['a', '--threshold', '.01'], '--threshold 0.01 and --lowest 0.05'),
    (['a', '--threshold', '1.5'], '--threshold 1.5'),
    (['a', '--max-upload', '0'], '--max-upload 0.0: give a positive number'),
    (['a', '--max-megapixels', 'nan'], '--max-megapixels nan'),
    (['a', '--queue', '-1'], '--queue -1'), (['a', '--port', '99999'], '--port 99999'),
    (['a', '--port', '0', '--token', 'short'], '--token: give 16 to 200'),
    (['no_such_model', '--port', '0'], 'no_such_model')])
def test_wrong_options_are_one_line(arguments, words, capsys):
    assert words in refusal(capsys, *arguments)


def test_a_port_in_use_is_found_before_a_model_is_loaded(detector, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr(Predictor, '__init__', pytest.fail)
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        assert f'--port {port} is in use' in refusal(capsys, detector, '--port', port)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    import pickle

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'), )
    (tmp_path / 'model.pth').write_bytes(pickle.dumps(Code()))
    assert 'model.pth' in refusal(capsys, tmp_path / 'model.pth', '--port', '0')
    assert not (tmp_path / 'ran').exists()


def test_what_the_options_say_reaches_the_application(detector, monkeypatch, capsys):  # noqa: F811
    """Not run further than to the server."""
    built = {}

    def build(models, limits, **options):
        built.update(models=models, limits=limits, **options)
        return build_app(models, limits, **options)
    monkeypatch.setattr('convnext_dense.web.app.build_app', build)
    monkeypatch.setattr('convnext_dense.web.server.run_server', lambda app, listening: None)
    monkeypatch.setenv('CONVNEXT_DENSE_TOKEN', 'token-of-the-environment')
    monkeypatch.delenv('OPENCV_IO_MAX_IMAGE_PIXELS', raising=False)
    assert run_command('serve', [
        str(detector), '--port', '0', '--device', 'cpu', '--threshold', '.5', '--lowest', '.2',
        '--max-upload', '2', '--max-megapixels', '1.5', '--queue', '3', '--tile', '64']) == 0
    assert built['limits'][:5] == (.5, .2, 2 * 2**20, 1_500_000, 3)
    assert built['token'] == 'token-of-the-environment'
    assert os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'] == '1500000'
    (model, ) = built['models']
    assert (model.name, model.predictor.threshold, model.predictor.tile) == (
        detector.name, .2, 64)
    printed = capsys.readouterr().out
    assert f'serving {detector.name} at http://127.0.0.1:' in printed
    assert '/?token=token-of-the-environment' in printed
    del os.environ['OPENCV_IO_MAX_IMAGE_PIXELS']


def test_two_models_are_served_until_ctrl_c(detector, segmenter, shapes, tmp_path):  # noqa: F811
    server = ServerProcess([detector, segmenter], tmp_path, ['--lowest', '0'])
    try:
        path = next((shapes / 'images' / 'validation').iterdir())
        names = [model['name'] for model in ask(server.url, path='/api/models').json['models']]
        upload = Upload(path.name, path.read_bytes(), (200, ))
        answers = [ask(server.url, upload, model=name, threshold=0).json for name in names]
        assert '<!doctype html>' in ask(server.url, path='/').content.decode()
    finally:
        status = server.stop()
    assert status == 128 + signal.SIGINT
    expected = Predictor(detector, device='cpu', threshold=0)(path)
    assert [one['score'] for one in answers[0]['objects']] == sorted(
        expected.scores.tolist(), reverse=True)
    assert answers[1]['task'] == 'labels' and answers[1]['objects']
    assert 'Traceback' not in server.log.read_text()
    assert list((tmp_path / 'tmp').glob('convnext-dense-*')) == []
