#!/usr/bin/env bash
# slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]: training under SLURM.
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS describe the allocation.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [options of train.py]" >&2
    exit 2
fi
. "$(dirname "$0")/setup/python.sh"
exec srun --partition="$1" --job-name="$2" --gres="gpu:${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$PYTHON" -u "$(dirname "$0")/train.py" "$3" --launcher slurm "${@:4}"
