"""What a config's ``acceleration`` says."""
from dataclasses import dataclass, fields
from typing import Any

import torch

from convnext_dense.errors import InputError

MEMORY_FORMATS = dict(channels_last=torch.channels_last, contiguous=torch.contiguous_format)
WINOGRAD = (False, 'infer', True)


@dataclass(frozen=True)
class Acceleration:
    """What :func:`convnext_dense.acceleration.prepare` does to a model.

    Args:
        memory_format (str): of the weights, which the maps follow: ``channels_last`` or
            ``contiguous``.
        forms (bool): layers compute in a faster form where there is one: on a CPU with
            hand-written gradients or, for a model that is only evaluated, folded and in chunks.
        winograd (bool | str): large 3x3 convolutions on a CPU with a quarter of the
            multiplications and about five times the rounding: ``infer`` where nothing is trained,
            True always, False never.
        ops (str): ConvNeXt's kernels on a GPU: ``torch``, ``auto`` or ``triton``, see
            :func:`convnext_dense.acceleration.triton.give_kernels`.
        compile (bool | dict): ``torch.compile``, or a dict of its arguments, for backbone, neck and
            segmentation heads.
        float32_predictions (bool): under autocast heads give float32 to losses and decoding.
        bfloat16 (bool): a model that is only evaluated computes under autocast in bfloat16, with
            float32 predictions; the forms for a CPU, which compute in float32, stay out.
        cuda_graphs (int): for how many sizes of image the backbone replays a CUDA graph in
            inference; each keeps memory of its own.

    Raises:
        InputError: a value that is none of these.
    """
    memory_format: str = 'channels_last'
    forms: bool = True
    winograd: bool | str = 'infer'
    ops: str = 'torch'
    compile: bool | dict = False
    float32_predictions: bool = False
    bfloat16: bool = False
    cuda_graphs: int = 0

    def __post_init__(self) -> None:
        for name, known in dict(memory_format=tuple(MEMORY_FORMATS), forms=(False, True),
                                winograd=WINOGRAD, ops=('torch', 'auto', 'triton'),
                                float32_predictions=(False, True),
                                bfloat16=(False, True)).items():
            value = getattr(self, name)
            if not any(value is one or value == one and isinstance(value, str) for one in known):
                raise InputError(f'acceleration.{name}={value!r}; give one of '
                                 f'{", ".join(map(repr, known))}')
        if type(self.cuda_graphs) is not int or self.cuda_graphs < 0:
            raise InputError(f'acceleration.cuda_graphs={self.cuda_graphs!r}; give a number of '
                             'sizes from 0 on')
        if self.compile not in (False, None) and self.cuda_graphs:
            raise InputError('acceleration: compile and cuda_graphs do not go together; with '
                             "compile=dict(mode='reduce-overhead') a backbone has graphs, too")

    @classmethod
    def from_config(cls, setting: Any, compile: Any = False) -> 'Acceleration | None':
        """The settings of a config.

        Args:
            setting (bool | dict | None): ``acceleration`` of the config; None and True are the
                defaults, False leaves a model as it is.
            compile (bool | dict | None): mmengine's own top-level setting of this name.

        Returns:
            Acceleration | None: None for False.

        Raises:
            InputError: another type, a key that does not exist, or a value that none may have.
        """
        from convnext_dense.acceleration.compiling import compile_options
        compile_options(compile)
        if setting is False:
            return None
        if setting not in (None, True) and not isinstance(setting, dict):
            raise InputError(f'acceleration={setting!r}: give True, False or a dict')
        options = dict(setting) if isinstance(setting, dict) else {}
        unknown = sorted(set(options) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f'acceleration: there is no {unknown[0]!r}; the settings are '
                             f'{", ".join(field.name for field in fields(cls))}')
        options.setdefault('compile', compile or False)
        compile_options(options['compile'])
        return cls(**options)
