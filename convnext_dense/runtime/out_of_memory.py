"""What to change where a run needs more memory than there is."""
from typing import Any

from mmengine.config import Config

from convnext_dense.config_device import is_mixed_precision
from convnext_dense.config_nodes import type_name
from convnext_dense.errors import is_out_of_memory
from convnext_dense.wording import counted


def explain_out_of_memory(error: BaseException, cfg: Config, work: str) -> str | None:
    """One line that says what ran out and which settings to change.

    Args:
        error: what was raised.
        cfg: of the run.
        work: ``train``, ``val`` or ``test``: what the run was doing.

    Returns:
        None where ``error`` is of another kind.
    """
    if not is_out_of_memory(error):
        return None
    on_gpu = 'CUDA' in str(error) or 'OutOfMemory' in type(error).__name__
    loader = cfg.get(f'{work}_dataloader') or {}
    batch = loader.get('batch_size', 1)
    step = 'a training step' if work == 'train' else 'a step of evaluation'
    said = (str(error).strip().splitlines() or [''])[0][:160]
    changes = _smaller_batch(work, batch) + _smaller_model(cfg, work, on_gpu)
    return (f"{'the GPU' if on_gpu else 'this machine'}'s memory does not hold {step} of "
            f'{counted(batch, "image")}; {_one_of(changes)}'
            + (f' ({said})' if said else ''))


def _smaller_batch(work, batch):
    if not isinstance(batch, int) or batch < 2:
        return []
    if work == 'train':
        return [f'give a smaller batch (--batch {batch // 2}, or --batch auto)']
    return [f'set {work}_dataloader.batch_size={max(batch // 2, 1)}']


def _smaller_model(cfg, work, on_gpu):
    changes = ['smaller images (the sizes in the pipeline)']
    if work != 'train':
        if 'EncoderDecoder' in (type_name(cfg.get('model')) or ''):
            changes.append("model.test_cfg.mode='slide' with a crop_size and a stride")
        return changes
    if on_gpu and not is_mixed_precision(cfg):
        changes.append('mixed precision (--amp)')
    backbone: Any = (cfg.get('model') or {}).get('backbone') or {}
    if type_name(backbone) == 'ConvNeXt' and not backbone.get('with_cp'):
        changes.append('model.backbone.with_cp=True (activations computed twice, not kept)')
    return changes


def _one_of(changes):
    return changes[0] if len(changes) == 1 else f'{", ".join(changes[:-1])}, or {changes[-1]}'
