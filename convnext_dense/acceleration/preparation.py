"""The one door to everything that makes a model faster without changing what it computes."""
import torch
from torch import nn

from convnext_dense.acceleration.forms import remove_forms
from convnext_dense.acceleration.memory_format import set_memory_format
from convnext_dense.acceleration.settings import MEMORY_FORMATS, Acceleration
from convnext_dense.errors import InputError
from convnext_dense.model_wrappers import device_of, unwrap

MODES = ('train', 'infer')
DEFAULT = Acceleration()
FOLDED = '_folded_for_inference'  # attribute of a model that cannot be trained any more


def prepare(model: nn.Module, mode: str = 'infer', device: str | torch.device | None = None,
            settings: Acceleration | dict | bool | None = DEFAULT) -> list[str]:
    """Prepare a detector, segmenter or backbone in place; call it after weights are loaded.

    For ``train`` parameters and state dict keep their names and values. For ``infer`` the model is
    set to evaluation mode, its parameters get no gradient, and layers are folded into one another:
    it cannot be trained or saved as a checkpoint afterwards. Values change by rounding only, about
    1e-5 of their scale. Preparing again for ``train`` changes nothing.

    Args:
        model (nn.Module): may be wrapped for distributed work or test-time augmentation.
        mode (str): ``train`` or ``infer``.
        device (str | torch.device | None): moved there first; by default it stays where it is.
        settings (Acceleration | dict | bool | None): as ``acceleration`` in a config: a dict of
            some settings, True for the defaults; False or None only moves the model, sets its
            mode, and takes faster forms away again.

    Returns:
        list[str]: phrases on what was done, for the log.

    Raises:
        InputError: no such mode, settings that cannot be had here, or training a model whose
            layers were folded.
    """
    if mode not in MODES:
        raise InputError(f'prepare: mode={mode!r}; give train or infer')
    if not isinstance(settings, Acceleration | None):
        settings = Acceleration.from_config(settings)
    model = unwrap(model)
    if mode == 'train' and getattr(model, FOLDED, False):
        raise InputError(f'prepare: the layers of this {type(model).__name__} were folded for '
                         "inference: build it anew, load its weights and prepare it to 'train'")
    if device is not None:
        model.to(device)
    place = device_of(model)
    if mode == 'infer':
        model.eval().requires_grad_(False)
    remove_forms(model)
    if settings is None:
        return ['as it is (acceleration=False)']
    done = [settings.memory_format]
    set_memory_format(model, MEMORY_FORMATS[settings.memory_format])
    if settings.forms and not settings.compile:
        done += _give_forms(model, mode, place, settings)
    if settings.bfloat16 and mode == 'infer':
        from convnext_dense.acceleration.bfloat16 import evaluate_in_bfloat16
        done += evaluate_in_bfloat16(model)
    if settings.ops != 'torch' or place.type == 'cuda':
        from convnext_dense.acceleration.triton import give_kernels
        count, form = give_kernels(model, settings.ops, place)
        done.append(f'ops {form}' + (f', {count} modules' if count else ''))
    if settings.float32_predictions:
        from convnext_dense.acceleration.float32_predictions import predict_in_float32
        done.append(f'float32 predictions of {len(predict_in_float32(model))} heads')
    if settings.compile:
        from convnext_dense.acceleration.compiling import compile_options, compile_parts
        options = compile_options(settings.compile) or {}
        done.append('compiled ' + ', '.join(compile_parts(model, **options)))
    if settings.cuda_graphs:
        from convnext_dense.acceleration.cuda_graphs import use_cuda_graphs
        use_cuda_graphs(getattr(model, 'backbone', model), settings.cuda_graphs)
        done.append(f'CUDA graphs of {settings.cuda_graphs} sizes' if place.type == 'cuda'
                    else 'no CUDA graphs (the model is on the CPU)')
    return done


def _give_forms(model: nn.Module, mode: str, device: torch.device, settings: Acceleration
                ) -> list[str]:
    done = []
    if mode == 'infer':
        from convnext_dense.acceleration.folding import fold
        convolutions, blocks = fold(model)
        setattr(model, FOLDED, True)
        done.append(f'{convolutions} batch norms and {blocks} blocks folded')
    if device.type == 'cpu' and not (settings.bfloat16 and mode == 'infer'):
        from convnext_dense.acceleration import cpu
        winograd = settings.winograd is True or settings.winograd == mode
        give = cpu.give_inference_forms if mode == 'infer' else cpu.give_training_forms
        done += [f'{count} {name}' for name, count in give(model, winograd).items() if count]
    return done
