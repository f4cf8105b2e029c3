"""Speed and memory of several models, measured in turns.

Each round runs every model once, so that a machine that slows down slows them all. In a round a
model takes two steps: one undisturbed, which gives speed and latency, and one that is watched
stage by stage, with a separate clock around the whole step, so that nothing hides between stages.
"""
from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from convnext_dense.analysis.random_batch import random_batch
from convnext_dense.analysis.stages import (
    INFERENCE_STAGES,
    TRAINING_STAGES,
    StageTimer,
    timed_optimizer,
    timed_stages,
)
from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

DTYPES = dict(fp32=None, fp16=torch.float16, bf16=torch.bfloat16)
PERCENTILES = (50, 90, 95, 99)
NMS_CANDIDATES = 2000


class Candidate:
    """One model under test.

    Args:
        name (str): its name in the results.
        cfg (Config): an mmdet or mmseg config; changed in place to fit the device.
        size (tuple[int, int]): height and width of the images, in pixels.
        batch (int): images a step.
        device (str): ``cpu`` or ``cuda``.
        precision (str): ``fp32``, or ``fp16`` or ``bf16`` by autocast.
        acceleration (bool | dict | None): how the model is prepared; by default as the config
            says, which is what ``train`` and ``test`` run.
        training (bool): measure training steps, else inference.
        weights (str, optional): weights of any known format. Without, they are random and the
            score threshold of a two-stage detector lets 2000 candidates pass to NMS, so that its
            mask heads have work.
        loader (Iterator, optional): gives the batches, in place of random images.
    """

    def __init__(self, name: str, cfg: Config, size: tuple[int, int], batch: int = 1,
                 device: str = 'cpu', precision: str = 'fp32',
                 acceleration: bool | dict | None = None, training: bool = False,
                 weights: str | None = None, loader: Iterator[dict] | None = None) -> None:
        from convnext_dense.acceleration import Acceleration, prepare
        from convnext_dense.config import set_device
        set_device(cfg, device)
        self.name, self.cfg, self.training, self.device = name, cfg, training, device
        self.whole: list[float] = []  # seconds of each step
        self.watched: list[float] = []
        self.stages: list[dict[str, float]] = []
        self.peak_memory = 0.
        self.batch = batch
        self.model: Any = build_model(cfg, weights, device, training)
        setting = cfg.get('acceleration') if acceleration is None else acceleration
        self.prepared = prepare(self.model, 'train' if training else 'infer',
                                settings=Acceleration.from_config(setting, cfg.get('compile')))
        self.autocast = torch.autocast(device, DTYPES[precision]) if DTYPES[precision] else \
            nullcontext()
        images = random_batch(cfg, size, batch)
        self.fetch = (lambda: next(loader)) if loader else (lambda: copy.deepcopy(images))
        self.optimizer: Any = _build_optimizer(self.model, cfg, precision, device) if training \
            else None
        if not training and weights is None:
            _open_score_threshold(self)

    def step(self, timer: StageTimer | None = None) -> dict | list:
        """One inference or training step, data included."""
        with timer.stage('data') if timer else nullcontext():
            data = self.fetch()
        if self.training:
            with self.autocast:
                return self.model.train_step(data, self.optimizer)
        with torch.inference_mode(), self.autocast:
            return self.model.test_step(data)

    def measure_round(self) -> None:
        """One undisturbed step and one watched by stage."""
        timer = StageTimer(self.device)
        begin = timer.now()
        self.step()
        self.whole.append(timer.now() - begin)
        with timed_stages(self.model, timer, self.training), \
                timed_optimizer(self.optimizer, timer):
            begin = timer.now()
            self.step(timer)
            self.watched.append(timer.now() - begin)
        self.stages.append(dict(timer.seconds))

    def measure_memory(self) -> None:
        """Peak of the memory that tensors take during one step, weights included, in bytes."""
        if self.device == 'cuda':
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            others = torch.cuda.memory_allocated() - self._resident_bytes()
            self.step()
            torch.cuda.synchronize()
            self.peak_memory = torch.cuda.max_memory_allocated() - others
        else:
            self.peak_memory = self._resident_bytes() + _peak_of_cpu_tensors(self.step)

    def _resident_bytes(self):
        tensors = [*self.model.parameters(), *self.model.buffers()]
        tensors += [parameter.grad for parameter in self.model.parameters()
                    if parameter.grad is not None]
        if self.training:
            tensors += [value for state in self.optimizer.optimizer.state.values()
                        for value in state.values() if torch.is_tensor(value)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def results(self) -> dict[str, Any]:
        """Medians and spreads of what was measured, as plain values for JSON."""
        whole = np.array(self.whole)
        rate = self.batch / whole
        names = TRAINING_STAGES if self.training else INFERENCE_STAGES
        stages = {name: float(np.median([stage.get(name, 0.) for stage in self.stages]))
                  for name in names}
        return dict(
            name=self.name, mode='training' if self.training else 'inference',
            batch=self.batch, rounds=len(whole),
            images_per_s=dict(median=float(np.median(rate)), p10=float(np.percentile(rate, 10)),
                              p90=float(np.percentile(rate, 90))),
            latency_ms={'mean': 1e3 * float(whole.mean()),
                        **{f'p{p}': 1e3 * float(np.percentile(whole, p)) for p in PERCENTILES}},
            stages_ms={name: 1e3 * seconds for name, seconds in stages.items()},
            stages_over_whole=float(np.median([
                sum(stage.values()) / step for stage, step in zip(self.stages, self.watched)])),
            watched_over_undisturbed=float(np.median(self.watched) / np.median(whole)),
            peak_memory_MiB=self.peak_memory / 2**20)


def build_model(cfg: Config, weights: str | None = None, device: str = 'cpu',
                training: bool = False) -> nn.Module:
    """The model of a config, with random weights or those of a file."""
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model))
    if weights:
        from convnext_dense.checkpoints import load_weights
        load_weights(model, weights)
    return model.to(device).train(training)


def benchmark(candidates: list[Candidate], rounds: int = 20, warmup: int = 3,
              report: Callable[[str], object] = lambda message: None) -> list[dict]:
    """Measure models in turns.

    Args:
        candidates (list[Candidate]): they keep what was measured.
        rounds (int): measured steps of each model.
        warmup (int): steps of each model before, which do not count.
        report (callable): gets a line of progress now and then.

    Returns:
        list[dict]: :meth:`Candidate.results` of each, with the keys ``images_per_s`` (median and
        10th and 90th percentile), ``latency_ms`` of a batch, ``stages_ms``,
        ``stages_over_whole`` (1 where the stages explain all of a watched step),
        ``watched_over_undisturbed`` (what the watching costs) and ``peak_memory_MiB``.

    Raises:
        InputError: a model needs more memory, another precision or a larger batch.
    """
    try:
        for candidate in candidates:
            report(f'warming up {candidate.name}')
            for _ in range(warmup):
                candidate.step()
            candidate.measure_memory()
        for index in range(rounds):
            # each round starts with another model: none is always the first after a pause
            first = index % len(candidates)
            for candidate in candidates[first:] + candidates[:first]:
                candidate.measure_round()
            report(f'round {index + 1} of {rounds}')
    except torch.cuda.OutOfMemoryError as error:
        raise InputError(f'benchmark: {candidate.name} does not fit into the GPU\'s memory; give '
                         'a smaller --batch or --size, or fewer configs at once') from error
    except (RuntimeError, ValueError) as error:
        text = str(error)
        if 'Expected more than 1 value per channel' in text:
            raise InputError(f'benchmark: {candidate.name} cannot train on a batch of '
                             f'{candidate.batch}: a batch norm sees a single value a channel; '
                             'give a larger --batch') from error
        if 'not implemented for' not in text:
            raise
        raise InputError(f'benchmark: {candidate.name} does not run at this precision on this '
                         f'device: {text.splitlines()[0]}; use --precision fp32') from error
    return [candidate.results() for candidate in candidates]


def render(results: list[dict]) -> str:
    """The results as a Markdown table, one row a model."""
    stages = list(dict.fromkeys(name for result in results for name in result['stages_ms']))
    head = ['model', 'mode', 'images/s', 'p10-p90', 'latency p50 / p95 ms',
            *(f'{stage} ms' for stage in stages), 'stages / whole', 'memory MiB']
    rows = [head, ['---'] * len(head)]
    for result in results:
        rate, latency = result['images_per_s'], result['latency_ms']
        rows.append([
            result['name'], result['mode'], f'{rate["median"]:.2f}',
            f'{rate["p10"]:.2f}-{rate["p90"]:.2f}', f'{latency["p50"]:.1f} / {latency["p95"]:.1f}',
            *(f'{result["stages_ms"].get(stage, 0):.1f}' for stage in stages),
            f'{result["stages_over_whole"]:.3f}', f'{result["peak_memory_MiB"]:.0f}'])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def _build_optimizer(model, cfg, precision, device):
    from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
    wrapper_cfg = copy.deepcopy(cfg.get('optim_wrapper') or dict(
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=.05)))
    wrapper_cfg['type'] = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper_cfg.pop(key, None)
    wrapper = build_optim_wrapper(model, wrapper_cfg)
    if precision == 'fp16' and device == 'cuda':
        return AmpOptimWrapper(loss_scale='dynamic', optimizer=wrapper.optimizer,
                               clip_grad=wrapper_cfg.get('clip_grad'))
    assert isinstance(wrapper, OptimWrapper)
    return wrapper


def _open_score_threshold(candidate):
    """Let ``NMS_CANDIDATES`` boxes of the box head pass, whatever scores random weights give."""
    roi_head = getattr(candidate.model, 'roi_head', None)
    if roi_head is None:
        head = getattr(candidate.model, 'bbox_head', None)
        if head is not None and head.test_cfg and 'score_thr' in head.test_cfg:
            head.test_cfg.score_thr = 0.
        return
    boxes = roi_head.bbox_head
    last: Any = boxes[-1] if isinstance(boxes, torch.nn.ModuleList) else boxes
    predict = last.predict_by_feat
    seen: list[torch.Tensor] = []

    def watch(*args, cls_scores, **kwargs):
        seen.extend(score.softmax(-1)[:, :-1].flatten() for score in cls_scores)
        return predict(*args, cls_scores=cls_scores, **kwargs)

    object.__setattr__(last, 'predict_by_feat', watch)
    try:
        candidate.step()
    finally:
        object.__delattr__(last, 'predict_by_feat')
    scores = torch.cat(seen).float()
    count = min(NMS_CANDIDATES * candidate.batch, len(scores))
    roi_head.test_cfg.score_thr = float(scores.topk(count).values[-1]) if count else 0.


def _peak_of_cpu_tensors(step):
    """Peak of the bytes that tensors take on the CPU during ``step()``."""
    from torch.profiler import ProfilerActivity, profile
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _quiet_stderr():
        profiler.start()
    step()
    with _quiet_stderr():
        profiler.stop()
    results: Any = profiler.profiler
    events = [event for event in results.kineto_results.events()
              if event.name() == '[memory]']
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(max(np.cumsum(sizes, dtype=np.int64).max(initial=0), 0))


@contextmanager
def _quiet_stderr():
    """Drop what the profiler's C++ side prints when it starts and stops."""
    kept = os.dup(2)
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
