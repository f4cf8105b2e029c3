"""Several processes on this machine: ``train --gpus N`` becomes torchrun with N of them."""
import argparse
import os
import sys
from collections.abc import Sequence

from convnext_dense.errors import InputError

#: what torchrun passes on to its processes, which save their state then
SIGNALS = 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1'


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """The options ``--gpus`` and ``--restarts``."""
    parser.add_argument('--gpus', type=int, metavar='N', help='train in N processes of this '
                        'machine, one a GPU; without a GPU on its cores')
    parser.add_argument('--restarts', type=int, default=0, metavar='N', help='with --gpus: when a '
                        'process dies, start all again, up to N times, from the newest checkpoint')


def torchrun_command(processes: int, restarts: int, argv: Sequence[str]) -> list[str]:
    """The command that runs ``convnext-dense train`` with these arguments in several processes.

    Args:
        processes (int): from 1 on.
        restarts (int): how often torchrun starts all processes again after one died.
        argv (Sequence[str]): of ``train``, ``--gpus`` and ``--restarts`` included, which go.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_launch_options(own)
    _, others = own.parse_known_args(argv)
    return [sys.executable, '-m', 'torch.distributed.run', '--standalone',
            f'--nproc-per-node={processes}', f'--max-restarts={restarts}',
            f'--signals-to-handle={SIGNALS}', '-m', 'convnext_dense', 'train', *others,
            '--launcher', 'pytorch']


def launch(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Become torchrun, where ``--gpus`` asks for it; returns in a process that it started, or where
    nothing was asked.

    Raises:
        InputError: numbers that cannot be, more GPUs than there are, or another launcher.
    """
    if args.gpus is None:
        if args.restarts:
            raise InputError('--restarts N is for --gpus, whose processes it starts again; add '
                             '--gpus 1 for a single one')
        return
    if args.gpus < 1 or args.restarts < 0:
        raise InputError(f'--gpus {args.gpus} --restarts {args.restarts}: give from 1 and from 0 '
                         'on')
    if args.launcher != 'none':
        raise InputError(f'--gpus {args.gpus} starts the processes itself; leave out --launcher '
                         f'{args.launcher}, or --gpus where torchrun or SLURM starts them')
    from convnext_dense.commands.options import choose_device
    if choose_device(args.device) == 'cuda':
        import torch
        found = torch.cuda.device_count()
        if args.gpus > found:
            raise InputError(f'--gpus {args.gpus}: torch finds {found} here')
    # or after a restart processes find addresses of the killed ones in the launcher's store
    environment = dict(os.environ, TORCH_DISABLE_SHARE_RDZV_TCP_STORE='1')
    environment.pop('LOCAL_RANK', None)
    command = torchrun_command(args.gpus, args.restarts, argv)
    print(f'{args.gpus} processes: {" ".join(command[1:])}', flush=True)
    os.execve(command[0], command, environment)


def was_restarted() -> bool:
    """Whether torchrun started this process again after one had died."""
    return os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') != '0'
