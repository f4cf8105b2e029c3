"""What is where at the end of a training."""
import os

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


def end_lines(runner: Runner) -> list[str]:
    """Where weights, log and curves are, and the next command; for the log."""
    best, last = None, None
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            last = hook.last_ckpt
            best = getattr(hook, 'best_ckpt_path', None) or next(
                filter(None, getattr(hook, 'best_ckpt_path_dict', {}).values()), None)
    lines = [f'best weights: {best}'] if best else []
    lines += [f'last checkpoint: {last}'] if last else []
    lines += [f'log and curves: {runner.log_dir}']
    config = getattr(runner.cfg, 'filename', None)
    if config and (best or last):
        kept = os.path.join(runner.work_dir, os.path.basename(config))
        lines += [f'next: convnext-dense test {kept if os.path.exists(kept) else config} '
                  f'{best or last}']
    return lines
