"""From a trained model to a folder that another runtime runs, tried there before it is kept."""
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from convnext_dense.errors import InputError
from convnext_dense.export import tracing
from convnext_dense.export.card import licence_of, versions, write_card, write_json
from convnext_dense.export.checking import compare, in_words, time_in_turns
from convnext_dense.export.images import read_images
from convnext_dense.export.layers import use_exportable_layers
from convnext_dense.files import atomic_folder
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.building import build_model
from convnext_dense.prediction.exported import FORMAT
from convnext_dense.prediction.image_input import GROUND_TRUTH
from convnext_dense.prediction.model_files import find_model, pipeline_of_tests

PACKAGES = ('convnext_dense', 'torch', 'onnx', 'onnxscript', 'onnxruntime', 'openvino', 'nncf')


class Target(NamedTuple):
    """What ``--to`` means.

    Attributes:
        file (str): name of the network's file.
        runtime (str): that the export is tried in.
        runtimes (tuple[str]): that read it.
    """
    file: str
    runtime: str
    runtimes: tuple[str, ...]


TARGETS = {
    'onnx': Target('model.onnx', 'onnxruntime', ('onnxruntime', 'openvino')),
    'openvino': Target('model.xml', 'openvino', ('openvino', )),
}


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Args:
        target (str): a name of ``TARGETS``.
        output (str | None): of a segmenter: ``labels`` or ``logits``; None takes ``labels``, or
            for a model that looks in windows ``logits``.
        normalise (bool): the network takes uint8 pixels and normalises them.
        images (Sequence[str]): files and folders to try it on; by default the test data.
        count (int): most images to try.
        data_root (str | None): folder of the config's data sets.
    """
    target: str = 'onnx'
    output: str | None = None
    normalise: bool = False
    images: Sequence[str] = ()
    count: int = 2
    data_root: str | None = None

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f'target {self.target!r}: give one of {", ".join(TARGETS)}')
        if self.count < 1:
            raise InputError(f'{self.count} images: give a number from 1 on')


def export_model(model: str | Path, out: str | Path, weights: str | Path | None = None,
                 options: ExportOptions = ExportOptions(),
                 report: Callable[[str], None] = print) -> dict:
    """Export a model, run the export on real images, and keep it if the results are the same.

    Args:
        model, weights (str | Path): as :class:`convnext_dense.Predictor` takes them.
        out (str | Path): the new folder.
        options (ExportOptions): how.
        report (Callable): gets a line for each step.

    Returns:
        dict: the model card.

    Raises:
        InputError: the model cannot be exported, the images are not there, or the export gives
            other results. Nothing is left then.
    """
    out, target = Path(out), TARGETS[options.target]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f'{out} is there already; remove it, or give another --out')
    files = find_model(model, weights)
    if options.data_root:
        from convnext_dense.config import set_data_root
        set_data_root(files.cfg, options.data_root)
    plain = build_model(files, torch.device('cpu'), prepared=False).eval().requires_grad_(False)
    reference = Predictor.of_model(files, plain, threshold=0)
    images = read_images(reference, files.cfg, options.images, options.count)
    network, described = build_network(plain, options)
    card = _card(files, out.name, options, described)
    with atomic_folder(out) as folder:
        report(f'writing {target.file}')
        _write(network, folder / target.file, options, described)
        write_json(folder, card)
        exported = Predictor(folder, threshold=0)
        report(f'running it in {target.runtime}')
        card['comparison'] = compare(reference, exported, images)
        report(in_words(card['comparison']))
        if not card['comparison']['equal']:
            raise InputError(f'the export of {files.source} gives other results than the model: '
                             f'{in_words(card["comparison"])}; it is not kept')
        prepared = Predictor.of_model(files, build_model(files, torch.device('cpu')), threshold=0)
        card['speed'] = _speed(dict(torch=reference, prepared=prepared,
                                    **{target.runtime: exported}), images[0])
        report('seconds an image: ' + ', '.join(
            f'{name} {seconds:.3f}' for name, seconds in card['speed']['seconds'].items()))
        write_card(folder, card)
    return card


def build_network(model: Any, options: ExportOptions) -> tuple[torch.nn.Module, dict]:
    """The network of a model that is written, and what the card says of it.

    Raises:
        InputError: no such models are exported, with the reason.
    """
    model = copy.deepcopy(model)
    if hasattr(model, 'decode_head'):
        from convnext_dense.export import segmenter
        use_exportable_layers(model)
        output = options.output or segmenter.default_output(model)
        network = segmenter.SegmenterNetwork(model, output, options.normalise).eval()
        return network, segmenter.describe(network)
    raise InputError(f'{type(model).__name__}: only segmenters are exported')


def _write(network, path, options, described):
    example = _example(described['inputs'])
    inputs, outputs = ([spec['name'] for spec in described[part]]
                       for part in ('inputs', 'outputs'))
    program = tracing.trace(network, example)
    if options.target == 'onnx':
        tracing.write_onnx(program, path, inputs, outputs)
        return
    intermediate = path.with_suffix('.onnx')
    tracing.write_onnx(program, intermediate, inputs, outputs)
    tracing.write_openvino(intermediate, path)
    for file in path.parent.glob(f'{intermediate.name}*'):
        file.unlink()


def _example(inputs):
    """Inputs to trace a network with."""
    images = torch.randint(0, 256, (2, 3, 160, 192)).to(getattr(torch, inputs[0]['type']))
    return [images, torch.tensor([100, 120])][:len(inputs)]


def _card(files, name, options, described):
    target = TARGETS[options.target]
    preprocessor = _plain(files.cfg.model.get('data_preprocessor') or
                          files.cfg.get('data_preprocessor'))
    if options.normalise:
        preprocessor = {key: value for key, value in preprocessor.items()
                        if key not in ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')}
    if described['network'].get('output') != 'logits':  # padding is inside
        preprocessor = {key: value for key, value in preprocessor.items()
                        if key not in ('test_cfg', 'pad_size_divisor')}
    steps = [step for step in pipeline_of_tests(files.cfg, files.source)
             if not str(step.get('type')).endswith(GROUND_TRUTH)]
    return dict(
        format=FORMAT, name=name, target=options.target, file=target.file, runtime=target.runtime,
        runtimes=list(target.runtimes), precision='float32', **described,
        task='labels', classes=list(files.names), palette=_plain(files.palette),
        preprocessing=dict(default_scope=files.cfg.get('default_scope', 'mmengine'),
                           pipeline=_plain(steps), data_preprocessor=preprocessor),
        weights=dict(source=files.source, licence=licence_of(files.source, files.checkpoint)),
        made_with=versions(PACKAGES))


def _plain(value):
    """A part of a config as values of JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, type):
        return f'{value.__module__}.{value.__qualname__}'
    return value


def _speed(sides, image):
    from convnext_dense.analysis.machine import describe_machine
    machine = describe_machine()
    return dict(seconds=time_in_turns(sides, image), image=f'{image.shape[1]}x{image.shape[0]}',
                machine=f'{machine["cores"]} cores of {machine["cpu"]}',
                threads=machine['threads'])
