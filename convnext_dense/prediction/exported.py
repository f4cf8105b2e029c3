"""An exported model in the place of a model of mmdet or mmseg: data samples in and out."""
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from convnext_dense.detection.mask_pasting import paste_crops
from convnext_dense.download import file_hash
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.prediction.building import build
from convnext_dense.prediction.runtimes import open_session
from convnext_dense.resolved_config import check_parts

CARD = 'model_card.json'
FORMAT = 'convnext-dense export 1'
PROGRAMS = ('torch', 'aotinductor')  # runtimes and targets whose files run when they are read


def is_export(model: str | Path) -> bool:
    """Whether ``model`` is a folder that ``convnext-dense export`` wrote."""
    return (Path(model).expanduser() / CARD).is_file()


def read_card(folder: str | Path) -> dict:
    """The card of an export, which is read as data.

    Raises:
        InputError: it is none, or would run code.
    """
    path = Path(folder).expanduser() / CARD
    with convert_errors(str(path), 'export the model again'):
        card = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(card, dict) or card.get('format') != FORMAT:
            raise InputError(f'{path} is no card of {FORMAT!r}; export the model again')
        card['preprocessing'] = _tuples(card['preprocessing'])
        scope = card['preprocessing']['default_scope']
        for part in (card['preprocessing']['pipeline'],
                     card['preprocessing']['data_preprocessor']):
            check_parts(part, scope, str(path))
    return card


def _tuples(value):
    """A part of JSON with tuples of plain values, as configs have them, in the place of lists."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_tuples(item) for item in value]
        return items if any(isinstance(item, (dict, list, tuple)) for item in items) else \
            tuple(items)
    return value


def _check_hashes(folder, known):
    """Compare the files of an export with the hashes in its card, which older cards have not."""
    for name, expected in known.items():
        path = folder / Path(name).name
        if path.is_file() and file_hash(path) != expected:
            raise InputError(f'{path} is damaged: its SHA-256 is not the one in its card; export '
                             'the model again')


class ExportedModel:
    """An export in a runtime, with the interface of a model that tests.

    Args:
        folder (str | Path): what ``convnext-dense export`` wrote.
        runtime (str, optional): of ``RUNTIMES``; by default the one that it was exported for.
        precision (str): ``float32``, or ``bf16`` with openvino.

    Attributes:
        card (dict): the model card.
        classes (tuple[str]), palette (list | None): their names and colours.
        cfg (Config): as far as the pipeline needs one.
        task (str): ``labels`` or ``instances``.

    Raises:
        InputError: no export, or not for this runtime.
    """

    def __init__(self, folder: str | Path, runtime: str | None = None,
                 precision: str = 'float32'):
        self.folder = Path(folder).expanduser()
        with convert_errors(f'the card of {self.folder}', 'export the model again'):
            self._open(runtime, precision)

    def _open(self, runtime, precision):
        self.card = read_card(self.folder)
        self.classes = tuple(map(str, self.card['classes']))
        self.palette: list | None = self.card['palette']
        made_for = self.card['runtime']
        if made_for in PROGRAMS and runtime != made_for:
            raise InputError(f'{self.folder}: a package of torch is a program, which runs '
                             f'when it is read; give --runtime {made_for} (runtime) if you trust '
                             'whoever made it, or export with --to onnx')
        self.task = self.card['task']
        self.runtime = runtime or self.card['runtime']
        preprocessing = self.card['preprocessing']
        self.cfg = Config(dict(default_scope=preprocessing['default_scope'], test_dataloader=dict(
            dataset=dict(pipeline=preprocessing['pipeline']))))
        from mmengine.registry import MODELS
        with convert_errors(f'the preprocessing of {self.folder}', 'export the model again'):
            self._preprocess = build(MODELS, dict(preprocessing['data_preprocessor']), self.cfg)
        _check_hashes(self.folder, self.card.get('sha256') or {})
        self._inputs = [(spec['name'], spec['type']) for spec in self.card['inputs']]
        self.run = open_session(
            self.folder / self.card['file'], self.runtime, torch.get_num_threads(), precision,
            outputs=tuple(spec['name'] for spec in self.card['outputs']))

    def test_step(self, data: dict) -> list:
        """Predict, as ``BaseModel.test_step`` of mmengine.

        Args:
            data (dict): ``inputs`` (list[Tensor] of shape (C, H, W), of one size) and
                ``data_samples`` with the meta data of the images.

        Returns:
            list: the data samples with ``pred_sem_seg`` or ``pred_instances``.
        """
        data = self._preprocess(data, False)
        images, samples = data['inputs'], data['data_samples']
        least = self.card['network']['least_side']
        pads = self.card['network'].get('output') == 'logits' and \
            self.card['target'] not in PROGRAMS
        if min(images.shape[2:]) < least and not pads:
            raise InputError(f'an image of {images.shape[3]}x{images.shape[2]} pixels after the '
                             f'test pipeline: this export takes sides from {least} pixels on')
        multiple = self.card['network'].get('multiple', 1)
        if any(side % multiple for side in images.shape[2:]):
            raise InputError(f'an image of {images.shape[3]}x{images.shape[2]} pixels after the '
                             f'test pipeline: this export takes multiples of {multiple}; add '
                             f'dict(type="Pad", size_divisor={multiple}) to the pipeline')
        if self.task == 'instances':
            return self._instances(images, samples)
        if self.card['network']['output'] == 'logits':
            return self._label_maps_of_logits(images, samples)
        sizes = [tuple(sample.metainfo['ori_shape'][:2]) for sample in samples]
        for size in dict.fromkeys(sizes):
            members = [index for index, other in enumerate(sizes) if other == size]
            labels = self._run(images[members], size)['labels']
            for index, of_image in zip(members, labels):
                samples[index].set_data(dict(pred_sem_seg=PixelData(
                    data=torch.from_numpy(of_image.astype(np.int64))[None])))
        return samples

    def _run(self, images: Tensor, size: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
        arrays = dict(images=images.numpy())
        if size is not None:
            arrays['size'] = np.array(size, np.int64)
        return self.run({name: np.ascontiguousarray(arrays[name], kind)
                         for name, kind in self._inputs})

    def _label_maps_of_logits(self, images, samples):
        from convnext_dense.segmentation.windows import Windows, pad_small
        network = self.card['network']
        windows = Windows(network['test_cfg'], network['align_corners'])
        images = pad_small(images, samples, network['least_side'])
        logits = torch.cat([torch.from_numpy(self._run(crops)['logits'])
                            for crops in windows.crops(images)])
        logits = logits.unflatten(0, (-1, len(images)))
        for index, sample in enumerate(samples):
            labels = windows.label_map(logits[:, index], images.shape[2:], sample.metainfo)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return samples

    def _instances(self, images, samples):
        outputs = {name: torch.from_numpy(value) for name, value in self._run(images).items()}
        image = outputs.pop('image')
        for index, sample in enumerate(samples):
            mine = (image == index).nonzero()[:, 0]
            boxes, scores, labels, *masks = (outputs[name][mine] for name in (
                'boxes', 'scores', 'labels', *(['masks'] if 'masks' in outputs else [])))
            meta = sample.metainfo
            if 'scale_factor' in meta:
                boxes = boxes / boxes.new_tensor(meta['scale_factor']).repeat(2)
            found = InstanceData(bboxes=boxes, scores=scores, labels=labels.long())
            if masks:
                height, width = meta['ori_shape'][:2]
                found.masks = paste_crops(masks[0], boxes, height, width,
                                          self.card['network']['mask_threshold'])
            sample.pred_instances = found
        return samples

