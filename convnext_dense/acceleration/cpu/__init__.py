"""Faster forms for float32 on a CPU, and where each of them goes."""
from torch import nn


def give_training_forms(model: nn.Module, winograd: bool) -> dict[str, int]:
    """Give layers their forms with hand-written gradients, or with fewer steps.

    Args:
        model (nn.Module): changed in place.
        winograd (bool): large 3x3 convolutions, too, forward and backward; these round more.

    Returns:
        dict[str, int]: how many modules of each name have a form now.
    """
    from convnext_dense.acceleration.cpu.attention import drop_weights
    from convnext_dense.acceleration.cpu.block import CpuBlock
    from convnext_dense.acceleration.cpu.deformable_attention import DeformableAttention
    from convnext_dense.acceleration.cpu.feed_forward import ChunkedFFN
    from convnext_dense.acceleration.cpu.winograd import WinogradConv2d
    from convnext_dense.acceleration.forms import give_form
    counts = {'blocks': give_form(model, CpuBlock)}
    counts['feed-forward networks'] = give_form(model, ChunkedFFN, ChunkedFFN.fits)
    counts['deformable attentions'] = give_form(model, DeformableAttention)
    counts['attentions without weights'] = drop_weights(model)
    if winograd:
        counts['3x3 convolutions'] = give_form(model, WinogradConv2d, WinogradConv2d.fits)
    return counts


def give_inference_forms(model: nn.Module, winograd: bool) -> dict[str, int]:
    """Give a folded model that is only evaluated its forms.

    Args:
        model (nn.Module): changed in place.
        winograd (bool): 3x3 convolutions are computed by Winograd's filtering, which rounds more.

    Returns:
        dict[str, int]: how many modules of each name have a form now.
    """
    from convnext_dense.acceleration.cpu.inference_block import InferenceBlock
    from convnext_dense.acceleration.cpu.winograd_stack import stack_convolutions
    from convnext_dense.acceleration.forms import give_form
    counts = {'blocks folded and chunked': give_form(model, InferenceBlock, InferenceBlock.fits)}
    if winograd:
        counts['stacks of convolutions on RoIs'] = stack_convolutions(model)
    return {**counts, **give_training_forms(model, winograd)}
