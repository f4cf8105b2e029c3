"""A model whose parameters are shared out between processes, by torch's FSDP2.

The backbone's blocks are gathered in groups; whatever else the model has (neck, heads, output
norms) is one group more, as its methods are called in many ways. A sharded model takes whole
tensors wherever a state dict is loaded, and :func:`whole` gives them back, so that checkpoints are
those of an unsharded run: any number of processes goes on from them.
"""
from __future__ import annotations

from typing import Any

import torch
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from convnext_dense.acceleration.bfloat16 import run_in_bfloat16
from convnext_dense.errors import InputError
from convnext_dense.parallel import FsdpSettings


def block_groups(backbone: nn.Module, size: int) -> list[list[nn.Module]]:
    """Consecutive blocks of a ConvNeXt, Swin or ResNet, none over the end of a stage.

    Args:
        backbone: any; one without stages has no groups.
        size: blocks of a group, at most.
    """
    layers: Any = getattr(backbone, 'res_layers', None)
    stages = [getattr(backbone, name) for name in layers] if layers else [
        getattr(stage, 'blocks', stage) for stage in getattr(backbone, 'stages', ())]
    return [list(stage)[start:start + size] for stage in stages
            for start in range(0, len(stage), size)]


def shard(model: nn.Module, settings: FsdpSettings) -> list[int]:
    """Share out the parameters of a detector or segmenter between all processes, in place.

    Args:
        model: on its device or on the CPU, the same in all processes.
        settings: of ``parallel``.

    Returns:
        Parameters of each group, the last is what is in no group of blocks.

    Raises:
        InputError: the model is no whole detector or segmenter.
    """
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"parallel.type='fsdp': {type(model).__name__} has no backbone whose "
                         "blocks could be shared out; use type='ddp'")
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 takes no other layout
    policy = MixedPrecisionPolicy(param_dtype=_dtype(settings.param_dtype),
                                  reduce_dtype=_dtype(settings.reduce_dtype),
                                  cast_forward_inputs=False)  # autocast does, as in other runs
    if settings.param_dtype == 'bfloat16':  # an evaluation brings no autocast of its own
        run_in_bfloat16(model)
    sizes = []
    for group in block_groups(backbone, settings.blocks):
        sizes.append(sum(parameter.numel() for block in group for parameter in block.parameters()))
        fully_shard(group, mp_policy=policy, reshard_after_forward=settings.reshard_after_forward)
    sizes.append(sum(parameter.numel() for parameter in model.parameters()) - sum(sizes))
    # with other dtypes the heads' batch norms would not run, and an average of the weights is
    # put in their place only where they are given back after a forward pass
    fully_shard(model, reshard_after_forward=True)
    take_whole_tensors(model)
    return sizes


def _dtype(name):
    return name and getattr(torch, name)


def is_sharded(model: nn.Module) -> bool:
    """Whether the parameters of a model are shared out."""
    return isinstance(model, FSDPModule)


def take_whole_tensors(model: nn.Module) -> None:
    """Let ``load_state_dict`` of a model with sharded parameters take whole tensors as well."""
    model.register_load_state_dict_pre_hook(_shard_state_dict)


def _shard_state_dict(module: nn.Module, state_dict: dict[str, Any], prefix: str,
                      *_: object) -> None:
    give_back(module)
    for name, parameter in module.named_parameters(prefix.rstrip('.')):
        if name in state_dict:
            state_dict[name] = part_of(state_dict[name], parameter)


def part_of(value: Any, like: Tensor) -> Any:
    """This process's part of a whole tensor, shared out as another one; whatever else as it is."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or isinstance(
            value, DTensor) or value.shape != like.shape:
        return value
    # every process has the whole: nothing is sent; a copy, which holds the part alone
    return distribute_tensor(value.contiguous(), like.device_mesh, like.placements,
                             src_data_rank=None).clone()


def part_of_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """This process's part of an optimizer's whole state, as its ``load_state_dict`` takes it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    kept = {}
    for number, values in state['state'].items():
        like = parameters[number] if isinstance(number, int) and 0 <= number < len(
            parameters) else None
        kept[number] = values if like is None or not isinstance(values, dict) else {
            name: part_of(value, like) for name, value in values.items()}
    return dict(state, state=kept)


def whole(states: Any, keep: bool = True) -> Any:
    """The sharded tensors in nested dicts and lists as whole ones on the CPU.

    All processes must call it, with the same states.

    Args:
        states: dicts, lists and tuples of anything.
        keep: False puts None in the place of each tensor, which saves the memory where another
            process needs them.
    """
    def gather(tensor):
        full = tensor.full_tensor()
        return full.cpu() if keep else None
    return apply_to(states, lambda value: isinstance(value, DTensor), gather)


def whole_state_dict(model: nn.Module, keep: bool = True) -> dict[str, Any]:
    """A model's state dict with whole tensors; see :func:`whole`."""
    state = model.state_dict()
    if is_sharded(model):
        for name, value in state.items():
            state[name] = whole(value, keep)
    return state


def give_back(model: nn.Module) -> None:
    """Let a model hold its own parts only: a forward pass without a backward one keeps the whole
    of its last groups, which would hide a change of the parts."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
