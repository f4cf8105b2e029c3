"""What is where at the end of a training."""
import os
from shlex import quote

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from convnext_dense.registry import FUNCTIONS
from convnext_dense.runtime.log_backends import viewing_lines


def end_lines(runner: Runner) -> list[str]:
    """Where weights, log, curves and report are, and the next commands; for the log.

    Draws the curves.
    """
    best, last = None, None
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            last = hook.last_ckpt
            best = getattr(hook, 'best_ckpt_path', None) or next(
                filter(None, getattr(hook, 'best_ckpt_path_dict', {}).values()), None)
    lines = [f'best weights: {best}'] if best else []
    lines += [f'last checkpoint: {last}'] if last else []
    lines += [f'log: {runner.log_dir}']
    try:
        curves = FUNCTIONS.get('convnext_dense.write_training_curves')(runner.work_dir)
        lines += [f'curves: {curves}'] if curves else []
    except OSError as error:  # the training is done and saved: a full disk takes the image alone
        lines += [f'curves: not drawn, {error}']
    lines += viewing_lines(runner.cfg)
    page = os.path.join(runner.work_dir, 'report.html')
    lines += [f'report: {page}'] if os.path.isfile(page) else []
    report = os.path.join(runner.log_dir, 'evaluation')
    lines += [f'report of the last validation: {report}'] if os.path.isdir(report) else []
    config = getattr(runner.cfg, 'filename', None)
    weights = best or last
    if config and weights:
        kept = os.path.join(runner.work_dir, os.path.basename(config))
        config = kept if os.path.exists(kept) else config
        lines += [f'next: convnext-dense test {quote(config)} {quote(weights)}',
                  f'or: convnext-dense predict IMAGES --model {quote(runner.work_dir)}']
    return lines
