"""Which parameters of a model train: parts frozen by name, LoRA adapters in the backbone."""
from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from convnext_dense.errors import InputError, convert_errors

LORA_OPTIONS = ('rank', 'alpha', 'dropout')
RANK = 8


def freeze(model: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Take parts of a model out of the training.

    Args:
        model: a detector or segmenter; its parameters are changed in place.
        parts: names of its parts, such as ``backbone``, ``neck`` or ``roi_head.mask_head``.

    Returns:
        list: the modules, which belong into evaluation mode.

    Raises:
        InputError: a part that the model does not have, or nothing is left to train.
    """
    if isinstance(parts, str) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"freeze={parts!r}: give a list of parts, such as ['backbone', 'neck']")
    modules = []
    for part in parts:
        try:
            modules.append(model.get_submodule(part.strip('.')))
        except AttributeError:
            names = [name for name, _ in model.named_modules() if name]
            near = get_close_matches(part, names, 1) or [name for name in names if '.' not in name]
            raise InputError(f'freeze: {type(model).__name__} has no part {part!r}; it has '
                             f'{", ".join(near)}') from None
        modules[-1].requires_grad_(False)
    if parts and not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f'freeze={list(parts)!r} leaves nothing to train')
    return modules


def rank_and_alpha(rank: int = RANK, alpha: int | None = None) -> dict[str, int]:
    """What these options of adapters mean: an ``alpha`` that is not given is twice the rank."""
    return dict(rank=rank, alpha=2 * rank if alpha is None else alpha)


def add_lora(backbone: nn.Module, rank: int = RANK, alpha: int | None = None,
             dropout: float = 0.) -> None:
    """Put LoRA adapters of PEFT into the pointwise layers of a ConvNeXt, in place.

    Everything else of the backbone is frozen, its output norms too. An adapter starts without
    effect. Stages that are frozen or after the last output get none.

    Args:
        backbone: a ConvNeXt with linear pointwise layers.
        rank: of the adapters.
        alpha: their product is multiplied by ``alpha / rank``; None is twice the rank.
        dropout: probability of dropping a value before an adapter, in [0, 1).

    Raises:
        InputError: another backbone, options out of range, or PEFT is not installed.
    """
    from convnext_dense.models import ConvNeXt
    if not isinstance(backbone, ConvNeXt):
        raise InputError(f'lora adapts convnext_dense.ConvNeXt, not {type(backbone).__name__}')
    stages = range(backbone.frozen_stages, max(backbone.out_indices) + 1)
    if not stages:
        raise InputError('lora: all stages are frozen (frozen_stages); set it to 0')
    if not isinstance(backbone.stages[stages[0]][0].pwconv1, nn.Linear):
        raise InputError('lora adapts linear layers; leave linear_pw_conv=False out')
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError(f'lora needs PEFT ({error}): install the extra lora, or the package peft'
                         ) from error
    backbone.requires_grad_(False)
    trained = '|'.join(map(str, stages))
    with convert_errors(f'lora: rank={rank!r}, alpha={alpha!r}, dropout={dropout!r}',
                        'correct the settings'):
        inject_adapter_in_model(LoraConfig(
            r=rank, lora_alpha=rank_and_alpha(rank, alpha)['alpha'], lora_dropout=dropout,
            target_modules=rf'stages\.({trained})\.\d+\.pwconv[12]'), backbone)


def restart_lora(model: nn.Module) -> None:
    """Let adapters start without effect again, after an initialisation drew all linear layers."""
    from mmengine.dist import broadcast
    from peft.tuners.lora import LoraLayer
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.reset_lora_parameters('default', True)
    for name, parameter in model.named_parameters():
        if '.lora_' in name:
            broadcast(parameter.data)


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """The norms whose parameters are frozen: their running statistics stay, too."""
    return [module for module in model.modules()
            if 'running_mean' in dict(module.named_buffers(recurse=False))
            and not any(parameter.requires_grad for parameter in module.parameters())]


def summary(model: nn.Module) -> str:
    """One line on what trains: ``trained: neck 0.21 M, ...; frozen: backbone 27.82 M``.

    A part that does both is named in both.
    """
    counts: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for name, parameter in model.named_parameters():
        of_kind = counts[parameter.requires_grad]
        part = name.partition('.')[0]
        of_kind[part] = of_kind.get(part, 0) + parameter.numel()
    return '; '.join(
        f'{title} {sum(counts[kind].values()) / 1e6:.2f} M parameters'
        + (' (' + ', '.join(f'{part} {count / 1e6:.2f} M' for part, count in counts[kind].items())
           + ')' if counts[kind] else '')
        for title, kind in (('trained:', True), ('frozen:', False)))
