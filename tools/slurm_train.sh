#!/usr/bin/env bash
# Trains under Slurm; `tools/slurm_train.sh --help` says how.
set -euo pipefail

usage() {
    cat <<'END'
usage: tools/slurm_train.sh PARTITION JOB CONFIG WORK_DIR [arguments of tools/train.py]

Trains CONFIG with one process for each GPU. It always goes on from the newest checkpoint of WORK_DIR, so a job that was
preempted, killed or out of time goes on when the same command runs again.

From a login node it asks for the machines itself (srun):
  NODES           machines (default 1)
  GPUS_PER_NODE   processes on each, one for each GPU (default 8); 0 trains on CPUs
  PROCS_PER_NODE  processes on each, where GPUS_PER_NODE is 0 (default 1)
  CPUS_PER_TASK   cores of each process (default 5)
  SRUN_ARGS       more options of srun, e.g. "--time=24:00:00 --account=lab"

As a batch job, which Slurm starts again by itself, machines and time are options of sbatch:
  sbatch --requeue --partition=P --job-name=J --nodes=2 --ntasks-per-node=8 --gres=gpu:8 --cpus-per-task=5 \
      tools/slurm_train.sh P J CONFIG WORK_DIR

MASTER_ADDR and MASTER_PORT name where the processes meet (default: the first machine, a port made from the job's number).
PYTHON names another interpreter than python. More: docs/guides/distributed.md
END
}

fail() {
    echo "error: $*" >&2
    exit 2
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
[[ $# -ge 4 ]] || fail "tools/slurm_train.sh needs PARTITION JOB CONFIG WORK_DIR, got $# arguments; --help says more"
partition=$1
job=$2
config=$3
work_dir=$4
shift 4
[[ -f $config ]] || fail "no config file $config"
command -v srun >/dev/null || fail "no program srun: this machine has no Slurm; tools/dist_train.sh trains without it"

# sbatch runs a copy of this file from a folder of its own.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ -f $here/train.py ]] || here=${SLURM_SUBMIT_DIR:-.}/tools
[[ -f $here/train.py ]] || fail "no $here/train.py; submit the job from the root of the repository"

# One process that ends badly ends the whole step, instead of leaving the others waiting for it.
step=(--kill-on-bad-exit=1)
if [[ -z ${SLURM_JOB_ID:-} ]]; then
    gpus=${GPUS_PER_NODE:-8}
    [[ $gpus =~ ^[0-9]+$ ]] || fail "GPUS_PER_NODE must be a number, got '$gpus'"
    processes=$gpus
    if ((gpus > 0)); then
        step+=("--gres=gpu:$gpus")
    else
        processes=${PROCS_PER_NODE:-1}
    fi
    step+=("--partition=$partition" "--job-name=$job" "--nodes=${NODES:-1}" "--ntasks-per-node=$processes")
    step+=("--cpus-per-task=${CPUS_PER_TASK:-5}")
    read -ra more <<<"${SRUN_ARGS:-}"
    step+=("${more[@]}")
fi

# Slurm's own variables say which process this is; the single quotes keep them for the machines where the processes run.
# shellcheck disable=SC2016
join='
export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID
export MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
export MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
exec "$@"'
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
exec srun "${step[@]}" bash -c "$join" train "${PYTHON:-python}" "$here/train.py" "$config" \
    --work-dir "$work_dir" --resume --launcher pytorch "$@"
