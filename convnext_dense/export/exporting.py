"""From a trained model to a folder that another runtime runs, tried there before it is kept."""
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convnext_dense.analysis.machine import installed_version
from convnext_dense.errors import InputError
from convnext_dense.export import tracing
from convnext_dense.export.card import licence_of, write_card, write_json
from convnext_dense.export.checking import compare, evaluate, in_words, time_in_turns
from convnext_dense.export.images import check_data, read_images
from convnext_dense.export.layers import use_exportable_layers
from convnext_dense.export.quantization import network_inputs, quantise
from convnext_dense.export.targets import PACKAGED, TARGETS, ExportOptions
from convnext_dense.files import atomic_folder
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.building import build_model
from convnext_dense.prediction.exported import FORMAT
from convnext_dense.prediction.image_input import GROUND_TRUTH
from convnext_dense.prediction.model_files import find_model, pipeline_of_tests
from convnext_dense.prediction.runtimes import import_runtime

PACKAGES = ('convnext_dense', 'torch', 'onnx', 'onnxscript', 'onnxruntime', 'openvino', 'nncf')


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
    limit = (200 if options.int8 else 0) if options.evaluate is None else options.evaluate
    check_data(files, ['test'] * (bool(limit) or not options.images) + ['train'] * (
        options.int8 and not options.calibration), bool(limit))
    plain = build_model(files, torch.device('cpu'), prepared=False).eval().requires_grad_(False)
    reference = Predictor.of_model(files, plain, threshold=0)
    images = read_images(reference, files.cfg, options.images, options.count)
    network, described = build_network(plain, options)
    if options.target in PACKAGED:
        described['network']['least_side'] = max(described['network']['least_side'],
                                                 tracing.SIDES[0])
    least = described['network']['least_side']
    card = _card(files, out.name, options, described)
    with atomic_folder(out) as folder:
        report(f'writing {target.file}')
        _write(network, folder / target.file, options, described)
        write_json(folder, card)
        exported = Predictor(folder, threshold=0, runtime=target.runtime)
        report(f'running it in {target.runtime}')
        card['comparison'] = compare(reference, exported, images, least)
        report(in_words(card['comparison']))
        if not card['comparison']['equal']:
            raise InputError(f'the export of {files.source} gives other results than the model: '
                             f'{in_words(card["comparison"])}; it is not kept')
        if options.int8:
            samples = read_images(reference, files.cfg, options.calibration,
                                  options.calibration_count, 'train')
            report(f'quantising to int8 with {len(samples)} images')
            quantise(folder / target.file, network_inputs(exported, samples))
            card.update(precision='int8', calibration=dict(images=len(samples), of=', '.join(
                options.calibration) or 'the training data'))
            write_json(folder, card)
            exported = Predictor(folder, threshold=0, runtime=target.runtime)
            card['comparison'] = compare(reference, exported, images, least)
            report(in_words(card['comparison']))
        if limit:
            card['accuracy'] = _accuracy(reference, exported, files.cfg, limit, target.runtime)
            report(loss_in_words(card['accuracy']))
        prepared = Predictor.of_model(files, build_model(files, torch.device('cpu')), threshold=0)
        sides = dict(torch=reference, prepared=prepared, **_runtimes(folder, card, exported))
        card['speed'] = _speed(sides, images[0])
        report('seconds an image: ' + ', '.join(
            f'{name} {seconds:.3f}' for name, seconds in card['speed']['seconds'].items()))
        write_card(folder, card)
    return card


def _runtimes(folder, card, exported):
    """The export in every runtime that reads it, and in bf16 where the CPU computes that."""
    sides = {_side(card['runtime']): exported}
    for runtime in card['runtimes']:
        if _side(runtime) not in sides:
            try:
                import_runtime(runtime)
            except InputError:
                continue
            sides[runtime] = Predictor(folder, threshold=0, runtime=runtime)
    if 'openvino' in sides and card['precision'] == 'float32' and computes_bf16():
        sides['openvino bf16'] = Predictor(folder, threshold=0, runtime='openvino',
                                           precision='bf16')
    return sides


def _side(runtime):
    """What tables call an export in a runtime, beside the model in torch."""
    return 'torch.export' if runtime == 'torch' else runtime


def computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16 (AVX512-BF16 or AMX)."""
    try:
        flags = Path('/proc/cpuinfo').read_text()
    except OSError:
        return False
    return 'avx512_bf16' in flags or 'amx_bf16' in flags


def _accuracy(reference, exported, cfg, limit, runtime):
    figures = {name: evaluate(side.model, cfg, limit)
               for name, side in (('torch', reference), (_side(runtime), exported))}
    return dict(data=f'at most {limit} images of the test data of the config', figures=figures)


def loss_in_words(accuracy: dict) -> str:
    """One line: each figure of the model and of the export, and the difference."""
    before, after = accuracy['figures'].values()
    return 'of the model and of the export: ' + ', '.join(
        f'{name} {value:.4g} and {after[name]:.4g} ({after[name] - value:+.4g})'
        for name, value in before.items() if name in after)


def build_network(model: Any, options: ExportOptions) -> tuple[torch.nn.Module, dict]:
    """The network of a model that is written, and what the card says of it.

    Raises:
        InputError: no such models are exported, with the reason.
    """
    model = copy.deepcopy(model)
    use_exportable_layers(model)
    if not hasattr(model, 'decode_head'):
        if options.output:
            raise InputError(f'--output {options.output}: a detector gives boxes; leave it out')
        if options.target == 'tensorrt-onnx':
            raise InputError('--to tensorrt-onnx: RoIAlign, NMS and deformable attention of '
                             'detectors have not been tried in TensorRT; export with --to onnx')
        from convnext_dense.export import detector, dino, rtmdet
        if hasattr(model, 'encoder') and hasattr(model, 'decoder'):
            transformer = dino.TransformerNetwork(model, options.normalise).eval()
            return transformer, dict(dino.describe(transformer), task='instances')
        if options.target in PACKAGED:
            raise InputError(f'--to {options.target}: a package cannot hold the RoIAlign and NMS '
                             'of a detector, which are operators of mmcv; export with --to onnx')
        if hasattr(model, 'roi_head'):
            two_stages = detector.TwoStageNetwork(model, options.normalise).eval()
            return two_stages, dict(detector.describe(two_stages), task='instances')
        one_stage = rtmdet.OneStageNetwork(model, options.normalise).eval()
        return one_stage, dict(rtmdet.describe(one_stage), task='instances')
    from convnext_dense.export import segmenter
    output = options.output or segmenter.default_output(model)
    network = segmenter.SegmenterNetwork(model, output, options.normalise).eval()
    if options.target == 'tensorrt-onnx':  # which gives no outputs of 8 bits
        network.label_type = 'int32'
    return network, dict(segmenter.describe(network), task='labels')


def _write(network, path, options, described):
    least = described['network']['least_side']
    program = tracing.trace(network, _example(described['inputs'], least),
                            described['network'].get('multiple', 1), least)
    if options.target in PACKAGED:
        dict(torch=tracing.write_torch, aotinductor=tracing.write_compiled)[options.target](
            program, path)
        return
    onnx_file = path.with_suffix('.onnx')
    inputs, outputs = ([spec['name'] for spec in described[part]]
                       for part in ('inputs', 'outputs'))
    from convnext_dense.export.operators import translations
    tracing.write_onnx(program, onnx_file, inputs, outputs, translations())
    if options.target == 'openvino':
        tracing.write_openvino(onnx_file, path)
        for file in path.parent.glob(f'{onnx_file.name}*'):
            file.unlink()


def _example(inputs, least):
    """Inputs to trace a network with: images of sides from ``least`` pixels on."""
    generator = torch.Generator().manual_seed(0)
    side = max(160, -(-least // 32) * 32)
    images = torch.randint(0, 256, (2, 3, side, side + 32), generator=generator)
    images = images.to(getattr(torch, inputs[0]['type']))
    return [images, torch.tensor([100, 120])][:len(inputs)]


def _card(files, name, options, described):
    target = TARGETS[options.target]
    preprocessor = _plain(files.cfg.model.get('data_preprocessor') or
                          files.cfg.get('data_preprocessor'))
    preprocessor.pop('batch_augments', None)  # of training
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
        classes=list(files.names), palette=_plain(files.palette),
        preprocessing=dict(default_scope=files.cfg.get('default_scope', 'mmengine'),
                           pipeline=_plain(steps), data_preprocessor=preprocessor),
        weights=dict(source=files.source, licence=licence_of(files.source, files.checkpoint)),
        made_with={name: found for name in PACKAGES if (found := installed_version(name))})


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
