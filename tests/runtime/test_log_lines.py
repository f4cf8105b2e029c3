"""What a log shows of names that others gave: no control characters."""
import io
import json
import logging
from contextlib import redirect_stdout

from tiny import toy_config

from convnext_dense.cli import main
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import Runner

NAME = 'a\x1b[2J\x07.jpg'


def test_lines_of_a_run_keep_their_breaks_and_nothing_else(tmp_path):
    runner = Runner.from_cfg(toy_config(tmp_path, log_level='INFO'))
    printed = io.StringIO()
    runner.logger.addHandler(logging.StreamHandler(printed))
    runner.logger.info('first: %s\nsecond\tof %d', NAME, 5)
    assert printed.getvalue() == 'first: a\\x1b[2J\\x07.jpg\nsecond\tof 5\n'


def test_bad_images_are_listed_without_control_characters(tmp_path, capsys):
    # a name of its own: mmengine keeps loggers, and their files, by it
    runner = Runner.from_cfg(toy_config(tmp_path, log_level='INFO', experiment_name='listed'))
    runner.train()
    runner.bad_image_lists.lists['bad_images.jsonl'].add(NAME, 'is torn', used=True)
    runner.bad_image_lists.log()
    shown = capsys.readouterr()
    log = next(tmp_path.rglob('*.log')).read_text()
    assert '\x1b[2J' not in log + shown.out + shown.err and r'a\x1b[2J\x07.jpg: is torn' in log


def test_check_data_prints_no_control_characters(tmp_path):
    write_shapes(tmp_path / 'data', train=2, val=2, size=64)
    path = tmp_path / 'data/annotations/instances_training.json'
    content = json.loads(path.read_text())
    content['images'][0]['file_name'] = NAME
    path.write_text(json.dumps(content))
    printed = io.StringIO()
    with redirect_stdout(printed):
        main(['check-data', 'cascade-mask-rcnn_convnext_shapes', '--no-trial', '--data-root',
              str(tmp_path / 'data'), '--out', str(tmp_path / 'out')])
    assert '\x1b' not in printed.getvalue() and r'a\x1b[2J\x07.jpg' in printed.getvalue()
