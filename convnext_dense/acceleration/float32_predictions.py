"""Mixed precision for the layers, float32 for what is made of their predictions."""
import torch
from torch import nn

from convnext_dense.private.torch import forward_hooks


def predict_in_float32(model: nn.Module) -> list[str]:
    """Let the heads of a detector or segmenter give their predictions in float32.

    Losses, box decoding and scores then work in float32 also inside autocast, where the rounding
    of bfloat16 (8 bits) would move boxes by pixels.

    Args:
        model (nn.Module): an mmdet or mmseg model; its heads get a forward hook.

    Returns:
        list[str]: names of the modules that got one.
    """
    names = []
    for name, module in model.named_modules():
        # a head of mmdet is called as a module; one of mmseg is not, but its last layer is
        if isinstance(getattr(module, 'conv_seg', None), nn.Module):
            name, module = f'{name}.conv_seg', module.conv_seg
        elif not hasattr(module, 'loss_by_feat') and not hasattr(module, 'loss_and_target'):
            continue
        if not any(hook is _to_float32 for hook in forward_hooks(module)):
            module.register_forward_hook(_to_float32)
        names.append(name)
    return names


def _to_float32(module, inputs, outputs):
    if torch.is_tensor(outputs):
        return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(_to_float32(module, inputs, output) for output in outputs)
    return outputs
