#!/usr/bin/env bash
# dist_train.sh CONFIG PROCESSES [options of train.py]: training in several processes.
# NNODES, NODE_RANK, PORT and MASTER_ADDR describe training on several machines.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of train.py]" >&2
    exit 2
fi
. "$(dirname "$0")/setup/python.sh"
CONFIG=$1
PROCESSES=$2
# or after a restart processes find addresses of the killed ones in the store of the launcher
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# one machine lets torchrun find a free port; several must agree on one
if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
    meeting=(--standalone)
else
    meeting=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi
exec "$PYTHON" -m torch.distributed.run "${meeting[@]}" --nproc_per_node="$PROCESSES" \
    --signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
