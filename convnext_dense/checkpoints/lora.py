"""Files and models with LoRA adapters, as PEFT names them: ``base_layer``, ``lora_A``, ``lora_B``.

An adapted layer computes ``W x + scale * B (A x)``; merged, it is ``W + scale * B A`` under the
name that the layer has without adapters. Weights are always read merged, so a file of an adapted
model fits wherever the model itself does. Only resuming takes the tensors as they are.
"""
import re
from collections.abc import Iterable

from convnext_dense.errors import InputError

#: what an adapter adds to a layer
ADAPTER = re.compile(r'\.lora_[AB]\.default\.weight$')
_DOWN, _UP, _INSIDE = '.lora_A.default.weight', '.lora_B.default.weight', '.base_layer.'


def has_adapters(names: Iterable[str]) -> bool:
    """Whether any of the names is an adapter's."""
    return any('.lora_A.' in name or '.lora_B.' in name for name in names)


def merge_adapters(tensors: dict, checkpoint: dict, source: str) -> dict:
    """The tensors of a file with its adapters merged into their layers.

    Args:
        tensors: names and tensors of the file.
        checkpoint: the whole file, whose ``meta['lora']`` has ``rank`` and ``alpha``.
        source: what messages call it.

    Raises:
        InputError: adapters without their layers, or of an unknown scale.
    """
    if not has_adapters(tensors):
        return tensors
    meta = checkpoint.get('meta')
    lora = meta.get('lora') if isinstance(meta, dict) else None
    scale = _scale(lora)
    if scale is None:
        raise InputError(f'{source} holds LoRA adapters, but not their rank and alpha (meta.lora '
                         f'is {lora!r}); merge them with the program that wrote them')
    merged = {}
    for name, tensor in tensors.items():
        if ADAPTER.search(name):
            continue
        layer = name.replace(_INSIDE, '.')
        if _INSIDE in name and name.endswith('.weight'):
            root = name.partition(_INSIDE)[0]
            down, up = tensors.get(root + _DOWN), tensors.get(root + _UP)
            if down is None or up is None or tensor.shape != (len(up), down.shape[-1]) or \
                    up.shape[-1] != len(down):
                raise InputError(f'{source}: {root} has no lora_A and lora_B that fit its weight '
                                 f'of shape {tuple(tensor.shape)}; it is damaged')
            product = up.double() @ down.double() * scale
            tensor = (tensor.double() + product).to(tensor.dtype)
        merged[layer] = tensor
    for name in tensors:
        if has_adapters([name]) and (not ADAPTER.search(name) or re.sub(
                ADAPTER, '', name) + _INSIDE + 'weight' not in tensors):
            raise InputError(f'{source} holds {name} without its layer; it is damaged, or not '
                             'written by this toolkit')
    return merged


def _scale(lora):
    if not isinstance(lora, dict):
        return None
    alpha, rank = lora.get('alpha'), lora.get('rank')
    if isinstance(alpha, (int, float)) and isinstance(rank, (int, float)) and min(alpha, rank) > 0:
        return alpha / rank
    return None


def describe_adapters(checkpoint: dict) -> str | None:
    """The adapters of a file in words, or None.

    Args:
        checkpoint: one that :func:`merge_adapters` accepted.
    """
    state = checkpoint.get('state_dict', checkpoint)
    ranks = [len(tensor) for name, tensor in state.items() if str(name).endswith(_DOWN)]
    return f'LoRA of rank {ranks[0]} in {len(ranks)} layers' if ranks else None


def inside_adapters(named: dict, wanted: dict) -> dict:
    """A file's tensors, renamed where the model has adapters around its layers.

    Args:
        named: the model's names without adapters, and tensors.
        wanted: the model's names and tensors.
    """
    inside = {name.replace(_INSIDE, '.'): name for name in wanted if _INSIDE in name}
    return {inside.get(name, name): tensor for name, tensor in named.items()} if inside else named
