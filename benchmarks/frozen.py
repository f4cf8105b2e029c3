"""What freezing the backbone saves of a training step: ``python -m benchmarks.frozen``.

ConvNeXt-T with a linear head on a CPU: wholly trained, with LoRA adapters in the backbone, with a
frozen backbone. Prints the bytes that the graph keeps for the backward pass (each storage once,
parameters not counted), those of gradients and optimizer state, the peak memory of the process
above what it took when everything was imported, and the time of a step in turns, as ratios to the
trained one's.
"""
import argparse
import copy
import gc
import json
import subprocess
import sys
import time
from statistics import median

import torch
from torch.autograd.graph import saved_tensors_hooks

from benchmarks.measuring import ratios, reset_peak, resident, return_freed_memory

CONFIG = 'linear_convnext-t-dinov3_1xb16-40k_ade20k-512x512'
CLASSES = 20
MODES = {'trained': {}, 'LoRA, rank 8': dict(lora=dict(rank=8)),
         'frozen backbone': dict(freeze=['backbone'])}


def build(mode, batch, side):
    """A step of that mode, and a forward pass that gives the loss."""
    from mmengine.logging import MMLogger
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    from convnext_dense.acceleration import prepare
    from convnext_dense.config import load_config, set_device
    from convnext_dense.runtime.trainable_hook import TrainableHook
    MMLogger.get_instance('frozen', log_level='ERROR')
    cfg = load_config(CONFIG, dict(classes=[str(number) for number in range(CLASSES)]))
    set_device(cfg, 'cpu')
    cfg.model.backbone.update(init_cfg=None, frozen_stages=0)
    cfg.model.data_preprocessor.size = (side, side)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        import mmseg.models  # noqa: F401
        model = MODELS.build(cfg.model)
    hook = TrainableHook(**MODES[mode])
    hook.apply(model)
    prepare(model, 'train')
    optimizer = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    data = dict(inputs=[torch.randint(0, 256, (3, side, side), dtype=torch.uint8)] * batch,
                data_samples=[SegDataSample(gt_sem_seg=PixelData(
                    data=torch.randint(0, CLASSES, (1, side, side))))] * batch)

    def loss():
        model.train()
        hook.before_train_iter(None, 0)
        inputs = model.data_preprocessor(copy.deepcopy(data), True)
        return model.parse_losses(model(**inputs, mode='loss'))[0]

    def step():
        optimizer.update_params(loss())
    return model, optimizer, loss, step


def kept_for_backward(model, loss):
    """Bytes that the graph of a loss keeps alive, parameters and their views not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss()
    total = sum(storages.values())
    del value
    return total


def of_training(model, optimizer):
    """Bytes of all gradients and of the optimizer's state after a step."""
    tensors = [value for state in optimizer.optimizer.state.values() for value in state.values()
               if isinstance(value, torch.Tensor)]
    tensors += [parameter for parameter in model.parameters() if parameter.requires_grad]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(mode, batch, side):
    """The memory of one mode in this process, in MiB."""
    build(mode, 2, 64)[3]()  # imports
    gc.collect()
    return_freed_memory()
    before = resident('VmRSS')
    model, optimizer, loss, step = build(mode, batch, side)
    step()
    gc.collect()
    return_freed_memory()
    reset_peak()
    step()
    peak = resident('VmHWM') - before
    return dict(kept=kept_for_backward(model, loss) / 2**20,
                training=of_training(model, optimizer) / 2**20, peak=peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--side', type=int, default=256, help='of the images, in pixels')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--measure', choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.batch, args.side)))
        return
    print(f'ConvNeXt-T with a linear head, {args.batch} images of {args.side} pixels, float32, '
          f'{torch.get_num_threads()} threads')
    memory = {}
    for mode in MODES:
        result = subprocess.run(
            [sys.executable, '-m', 'benchmarks.frozen', '--measure', mode, '--batch',
             str(args.batch), '--side', str(args.side)], capture_output=True, text=True)
        if result.returncode:
            print(f'{mode}: {result.stderr.strip().splitlines()[-1]}')
            continue
        memory[mode] = json.loads(result.stdout.splitlines()[-1])
    steps = {mode: build(mode, args.batch, args.side)[3] for mode in memory}
    seconds = {mode: [] for mode in steps}
    for number in range(args.rounds + 1):
        for mode, step in steps.items():
            begin = time.perf_counter()
            step()
            if number:  # the first round chooses algorithms
                seconds[mode].append(time.perf_counter() - begin)
    for mode, row in memory.items():
        of = ratios(seconds[mode], seconds['trained'])
        print(f'{mode:16} kept for backward {row["kept"]:7.1f} MiB, gradients and optimizer '
              f'{row["training"]:6.1f} MiB, peak {row["peak"]:7.0f} MiB, '
              f'{median(seconds[mode]):.2f} s, {of["ratio"]:.2f} of trained '
              f'({of["least"]:.2f}-{of["greatest"]:.2f})')


if __name__ == '__main__':
    main()
