"""The model card of an export: JSON for programs, Markdown for people."""
import json
from pathlib import Path
from shlex import quote

from convnext_dense.download import file_hash
from convnext_dense.errors import markdown_text, printable
from convnext_dense.export.checking import in_words
from convnext_dense.prediction.exported import CARD, PROGRAMS

MARKDOWN = 'MODEL_CARD.md'


def write_card(folder: Path, card: dict) -> None:
    """Write both forms.

    Args:
        folder (Path): of the export.
        card (dict): plain values.
    """
    write_json(folder, card)
    (folder / MARKDOWN).write_text(markdown(card), encoding='utf-8')


def write_json(folder: Path, card: dict) -> None:
    """Write the JSON alone, which is what running an export needs, with hashes of the files."""
    card['sha256'] = {path.name: file_hash(path) for path in sorted(folder.iterdir())
                      if path.name not in (CARD, MARKDOWN)}
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + '\n',
                               encoding='utf-8')


def licence_of(source: str, checkpoint: dict) -> str:
    """What is known of the licence of weights: what they state, or their published entry."""
    from convnext_dense.checkpoints.zoo import entries
    meta = checkpoint.get('meta')
    stated = meta.get('licence') if isinstance(meta, dict) else None
    entry = entries().get(source)
    if isinstance(stated, str):
        return stated
    return entry.licence if entry else 'not known here; that of what they were trained from'


def markdown(card: dict) -> str:
    """The card as Markdown."""
    weights = card['weights']
    parts = [
        f'# {card["name"]}', '',
        f'`{card["file"]}` for {" or ".join(card["runtimes"])}, {card["precision"]}; '
        f'{len(card["classes"])} classes: '
        f'{markdown_text(", ".join(card["classes"]))}.', '',
        f'Weights: `{printable(weights["source"])}`. Licence of the weights: '
        f'{markdown_text(weights["licence"])}.', '',
        '## Inputs and outputs', '', _table(
            ['', 'name', 'type', 'shape', 'meaning'],
            [[kind, f'`{spec["name"]}`', spec['type'],
              ', '.join(map(str, spec['shape'])), spec['meaning']]
             for kind in ('input', 'output') for spec in card[f'{kind}s']]), '']
    if card['target'] == 'tensorrt-onnx':
        parts += ['Its operators and types are those that TensorRT documents. It was tried in ONNX '
                  'Runtime only: the machine that wrote it has no TensorRT.', '']
    if 'calibration' in card:
        parts += [f'Quantised by NNCF with {card["calibration"]["images"]} images of '
                  f'{card["calibration"]["of"]}.', '']
    parts += _checked(card)
    parts += ['## From Python', '', '```python', python_code(card), '```', '',
              'or, with the pipeline of the test, files and folders:', '', '```',
              f'convnext-dense predict photos/ --model {quote(card["name"])} --runtime '
              f'{card["runtime"]}', '```', '']
    if card['runtime'] not in PROGRAMS:
        parts += ['## From C++', '', '```cpp', cpp_code(card), '```', '']
    made = card['made_with']
    parts += ['## Made with', '', ', '.join(f'{name} {version}' for name, version in made.items()),
              '']
    return '\n'.join(parts)


def _checked(card: dict) -> list[str]:
    parts = ['## Accuracy', '', f'Against the model in torch: {in_words(card["comparison"])}.', '']
    if card.get('accuracy'):
        parts += [f'On {card["accuracy"]["data"]}:', '', _table(
            ['', *card['accuracy']['figures']['torch']],
            [[side, *(f'{value:.4g}' for value in figures.values())]
             for side, figures in card['accuracy']['figures'].items()]), '']
    speed = card['speed']
    parts += ['## Speed', '', f'One image of {speed["image"]} pixels, network and '
              f'post-processing, on {speed["machine"]}, {speed["threads"]} threads, in one run:',
              '', _table(['', 'seconds', 'times torch'],
                         [[name, f'{seconds:.4f}', f'{speed["seconds"]["torch"] / seconds:.2f}']
                          for name, seconds in speed['seconds'].items()]), '']
    return parts


def _table(head: list, rows: list[list]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _pixels(card: dict) -> str:
    """Lines of Python that make the input of an image ``image`` (H, W, 3), BGR."""
    if card['inputs'][0]['type'] == 'uint8':
        return 'images = np.ascontiguousarray(image.transpose(2, 0, 1)[None])'
    pre = card['preprocessing']['data_preprocessor']
    channels = '[:, :, ::-1]' if pre.get('bgr_to_rgb') else ''
    return (f'pixels = image{channels}.astype(np.float32)\n'
            f'pixels = (pixels - np.float32({list(pre.get("mean") or [0, 0, 0])})) / '
            f'np.float32({list(pre.get("std") or [1, 1, 1])})\n'
            'images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])')


def python_code(card: dict) -> str:
    """A program that reads ``photo.jpg`` and ends with the outputs by name in ``results``."""
    feed = ['images=images']
    lines = ['import cv2', 'import numpy as np', _import(card), '',
             "image = cv2.imread('photo.jpg')", _pixels(card)]
    if len(card['inputs']) > 1:
        lines.append('size = np.array(image.shape[:2], np.int64)')
        feed.append('size=size')
    names = [spec['name'] for spec in card['outputs']]
    if card['runtime'] == 'onnxruntime':
        lines += [f"session = ort.InferenceSession('{card['file']}')",
                  f'results = dict(zip({names}, session.run({names}, dict({", ".join(feed)}))))']
    elif card['runtime'] == 'openvino':
        lines += [f"model = ov.Core().compile_model('{card['file']}', 'CPU', "
                  "{'INFERENCE_PRECISION_HINT': 'f32'})",
                  f'results = model(dict({", ".join(feed)}))',
                  f'results = {{name: results[name] for name in {names}}}']
    else:
        values = ', '.join(f'torch.from_numpy({name.split("=")[0]})' for name in feed)
        load = f"torch.export.load('{card['file']}').module()" if card['runtime'] == 'torch' else \
            f"torch._inductor.aoti_load_package('{card['file']}')"
        lines += [f'model = {load}', f'outputs = model({values})',
                  'outputs = [outputs] if torch.is_tensor(outputs) else outputs',
                  f'results = dict(zip({names}, outputs))']
    return '\n'.join(lines)


def _import(card: dict) -> str:
    return dict(onnxruntime='import onnxruntime as ort', openvino='import openvino as ov',
                torch='import torch',
                aotinductor='import torch')[card['runtime']]


def cpp_code(card: dict) -> str:
    """The calls of the runtime's C++ interface; ``pixels`` holds the values of ``images``."""
    inputs, outputs = card['inputs'], [spec['name'] for spec in card['outputs']]
    kind = dict(float32='float', uint8='uint8_t')[inputs[0]['type']]
    sized = len(inputs) > 1
    if card['runtime'] == 'onnxruntime':
        names = ', '.join(f'"{spec["name"]}"' for spec in inputs)
        return '\n'.join([
            '#include <onnxruntime_cxx_api.h>', '',
            'Ort::Env env;',
            f'Ort::Session session(env, "{card["file"]}", Ort::SessionOptions{{}});',
            'auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);',
            'std::vector<int64_t> shape{1, 3, height, width}, size{height, width}, two{2};',
            'std::vector<Ort::Value> values;',
            f'values.push_back(Ort::Value::CreateTensor<{kind}>(memory, pixels.data(), '
            'pixels.size(), shape.data(), 4));',
            *(['values.push_back(Ort::Value::CreateTensor<int64_t>(memory, size.data(), 2, '
               'two.data(), 1));'] if sized else []),
            f'const char* inputs[] = {{{names}}};',
            'const char* outputs[] = {' + ', '.join(f'"{name}"' for name in outputs) + '};',
            f'auto results = session.Run(Ort::RunOptions{{}}, inputs, values.data(), {len(inputs)},'
            f' outputs, {len(outputs)});'])
    return '\n'.join([
        '#include <openvino/openvino.hpp>', '',
        'ov::Core core;',
        f'auto model = core.compile_model("{card["file"]}", "CPU", '
        'ov::hint::inference_precision(ov::element::f32));',
        'auto request = model.create_infer_request();',
        f'request.set_tensor("images", ov::Tensor(ov::element::'
        f'{dict(float="f32", uint8_t="u8")[kind]}, {{1, 3, height, width}}, pixels.data()));',
        *(['std::vector<int64_t> size{height, width};',
           'request.set_tensor("size", ov::Tensor(ov::element::i64, {2}, size.data()));']
          if sized else []),
        'request.infer();',
        *(f'ov::Tensor {name} = request.get_tensor("{name}");' for name in outputs)])
