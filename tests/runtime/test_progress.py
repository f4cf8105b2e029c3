"""On a terminal a run is one line; elsewhere it is mmengine's log."""
import contextlib
import io
import logging
import re
import uuid

import pytest
from tiny import toy_config, with_validation

from convnext_dense.runtime import Runner
from convnext_dense.runtime.progress import figure_text


class Terminal(io.StringIO):
    encoding = 'utf-8'

    def isatty(self):
        return True

    def last_lines(self):
        """What stands on the screen: of each line what was written over it last."""
        return [line.rpartition('\r')[2].rstrip() for line in self.getvalue().split('\n')]


def on_terminal(work):
    """Do ``work`` on a terminal.

    Returns:
        tuple: what it returned, and the terminal.
    """
    screen = Terminal()
    with contextlib.redirect_stdout(screen):  # no fixture: pytest sets stdout for each phase
        return work(), screen


def config(work_dir, **settings):
    cfg = with_validation(toy_config(
        work_dir, log_level='INFO', experiment_name=f'run_{uuid.uuid4().hex}', **settings), 1,
        scores=[.1, .3, .2])
    cfg.default_hooks.checkpoint.update(save_best='score', rule='greater')
    return cfg


def trained(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_a_terminal_shows_step_time_left_loss_and_the_best_figure(tmp_path):
    runner, terminal = on_terminal(lambda: trained(config(tmp_path)))
    lines = [line for line in terminal.last_lines() if line and 'ToyMetric' not in line]
    assert lines[0] == f'the log is in {runner.log_dir}'
    assert re.fullmatch(r'step 18/18 \|.{20}\| 00:00 left, loss \S+, score 0.2 \(best 0.3\)',
                        lines[1])
    assert [line.split(':')[0] for line in lines[2:]] == [
        'best weights', 'last checkpoint', 'log', 'curves']
    assert re.search(r'step 6/18 \|.*\| \d\d:\d\d left, .*evaluating 1/2', terminal.getvalue())
    log, = tmp_path.glob('*/*.log')
    text = log.read_text()
    assert 'System environment' in text and 'Saving checkpoint at 18 iterations' in text
    assert 'left, loss' not in text


def test_warnings_stand_above_the_line(tmp_path):
    def log():
        runner = Runner.from_cfg(config(tmp_path))
        runner.logger.warning('the disk is nearly full')
        runner.logger.info('a detail')

    _, terminal = on_terminal(log)
    assert 'warning: the disk is nearly full' in terminal.last_lines()
    assert 'a detail' not in terminal.getvalue()


def test_the_config_may_ask_for_the_log(tmp_path):
    _, terminal = on_terminal(lambda: Runner.from_cfg(config(tmp_path, progress=False)))
    assert 'System environment' in terminal.getvalue()
    assert 'left, loss' not in terminal.getvalue()


def test_what_is_no_terminal_gets_the_log_and_no_line(tmp_path, capsys):
    runner = trained(config(tmp_path))
    printed = capsys.readouterr().out
    assert '\r' not in printed and 'left, loss' not in printed
    assert any(isinstance(handler, logging.StreamHandler) for handler in runner.logger.handlers)


def test_a_test_shows_its_figures(tmp_path):
    cfg = config(tmp_path)
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = (
        cfg.val_dataloader, cfg.val_evaluator, dict())
    _, terminal = on_terminal(lambda: Runner.from_cfg(cfg).test())
    screen = '\n'.join(terminal.last_lines())
    assert 'batch 2/2' in screen and 'score: 0.1000' in screen
    assert 'System environment' not in screen


@pytest.mark.parametrize('metrics, key, best, text', [
    ({'coco/bbox_mAP': .3123456, 'coco/bbox_mAP_50': .5}, 'coco/bbox_mAP', .334,
     'bbox_mAP 0.3123 (best 0.334)'),
    ({'mIoU': 71.25}, None, None, 'mIoU 71.25'),
    ({'mIoU': 71.25}, 'gone', None, 'mIoU 71.25'), ({}, None, None, '')])
def test_the_figure_is_that_of_the_best_weights(metrics, key, best, text):
    assert figure_text(metrics, key, best) == text
