"""Checkpoints whose config, and exports whose card, would run code where a library builds them."""
import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from benchmarks.hostile_files import Code


def hostile_configs(folder: Path, good: dict, ran: Path) -> list[Path]:
    """Checkpoints of a segmenter with a changed config.

    Args:
        folder: where they are written; it has a checkpoint ``system.pth`` with code.
        good: a true state of training.
        ran: what appears where code ran.
    """
    own = Config.fromstring(good['meta']['cfg'], '.py')
    (folder / 'mc.py').write_text(f'open({str(ran)!r}, "w")\n')  # mmengine's memcached client
    teacher = dict(type='mmdet.KnowledgeDistillationSingleStageDetector',
                   backbone=own.model.backbone, neck=None, bbox_head=None,
                   teacher_config=dict(model=own.model), teacher_ckpt=str(folder / 'system.pth'))
    storage = dict(backend='memcached', server_list_cfg='', client_cfg='', sys_path=str(folder))
    evaluated = f'[C["touch {ran}"] for C.__class_getitem__ in [cv2.os.system]]'
    made = []
    for name, change in dict(
            teacher=lambda cfg: cfg.update(model=teacher),
            storage=lambda cfg: load_by(cfg, backend_args=storage),
            client=lambda cfg: load_by(cfg, file_client_args=storage),
            pickled=lambda cfg: load_by(cfg, type='mmseg.LoadBiomedicalData',
                                        decode_backend='pickle'),
            evaluated=lambda cfg: cfg.model.update(
                auxiliary_head=dict(type='mmdet.CameraMotionCompensation', warp_mode=evaluated)),
            data_set=lambda cfg: cfg.test_dataloader.update(
                dataset=dict(type='os.mkdir', path=str(ran), pipeline=pipeline_of(cfg))),
            references=lambda cfg: cfg.test_dataloader.update(dataset=dict(
                type='mmdet.RefCocoDataset', split_file=str(folder / 'plain_pickle.pth'),
                pipeline=pipeline_of(cfg))),
            scope=lambda cfg: cfg.update(default_scope='mc'),
            fetched=lambda cfg: cfg.model.update(backbone=dict(
                type='mmseg.TIMMBackbone', model_name='hf_hub:a/b', pretrained=True))).items():
        cfg = copy.deepcopy(own)
        change(cfg)
        made.append(folder / f'config_{name}.pth')
        torch.save(dict(good, meta=dict(good['meta'], cfg=cfg.pretty_text)), made[-1])
    return made


def pipeline_of(cfg: Any) -> list[dict]:
    return cfg.test_dataloader.dataset.pipeline


def load_by(cfg: Any, **settings: Any) -> None:
    pipeline_of(cfg)[0].update(settings)


def hostile_exports(folder: Path, good: Path, ran: Path) -> list[Path]:
    """Folders as ``export`` writes them, with a changed card or network.

    Args:
        folder: where they are written.
        good: a true export.
        ran: what appears where code ran.
    """
    made: list[Path] = []

    def begin(name: str, change: Callable[[dict], Any]) -> Path:
        made.append(folder / f'export_{name}')
        shutil.copytree(good, made[-1])
        card = json.loads((made[-1] / 'model_card.json').read_text())
        change(card)
        (made[-1] / 'model_card.json').write_text(json.dumps(card))
        return made[-1]

    code = dict(type='os.mkdir', path=str(ran))
    place = begin('program', lambda card: card.update(file='model.pt2', runtime='torch'))
    torch.save(dict(evil=[Code(os.mkdir, str(ran))]), place / 'model.pt2')
    begin('pipeline', lambda card: card['preprocessing']['pipeline'].append(code))
    begin('preprocessor', lambda card: card['preprocessing'].update(data_preprocessor=code))
    begin('scope', lambda card: card['preprocessing'].update(default_scope='mc'))
    begin('outside', lambda card: card.update(file='../../../../../../etc/passwd'))
    begin('kinds', lambda card: card.update(file=[1], classes=5, inputs='x', outputs=None))
    begin('control', lambda card: card.update(classes=['\x1b[2J', 'a\nb', '<script>x'] * 2))
    begin('less', lambda card: card.pop('network'))
    (begin('garbage', lambda card: None) / 'model.onnx').write_bytes(bytes(range(256)) * 50)
    (begin('deep', lambda card: None) / 'model_card.json').write_text('[' * 100_000)
    return made

