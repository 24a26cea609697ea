#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: starts tools/train.py or tools/test.py through torchrun.
set -euo pipefail

tool=$1
shift

usage() {
    cat <<END
usage: tools/dist_$tool.sh CONFIG NPROC [arguments of tools/$tool.py]

Runs tools/$tool.py in NPROC processes on this machine, one for each GPU; without a GPU they run on the CPU (gloo).

On several machines, run the same command on each, with these environment variables:
  NNODES       how many machines (default 1)
  NODE_RANK    number of this one, from 0
  MASTER_ADDR  a name or address of machine 0 that the others can reach
  MASTER_PORT  a free port there (default 29500; on one machine, a free one is found)
All of them need the same code, data and work directory (a shared file system).
PYTHON names another interpreter than python. More: docs/guides/distributed.md
END
}

fail() {
    echo "error: $*" >&2
    exit 2
}

is_count() {
    [[ $1 =~ ^[1-9][0-9]*$ ]]
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
[[ $# -ge 2 ]] || fail "tools/dist_$tool.sh needs CONFIG and NPROC, got $# arguments; --help says more"
config=$1
processes=$2
shift 2
[[ -f $config ]] || fail "no config file $config"
is_count "$processes" || fail "NPROC must be a number of processes of at least 1, got '$processes'"

nodes=${NNODES:-1}
is_count "$nodes" || fail "NNODES must be a number of machines of at least 1, got '$nodes'"
launch=(--nproc_per_node "$processes")
if ((nodes == 1)) && [[ -z ${MASTER_PORT:-} ]]; then
    launch+=(--standalone)
else
    rank=${NODE_RANK:-0}
    ((nodes == 1)) || [[ -n ${NODE_RANK:-} && -n ${MASTER_ADDR:-} ]] ||
        fail "NNODES=$nodes also needs NODE_RANK (0 to $((nodes - 1))) and MASTER_ADDR (of machine 0)"
    [[ $rank == 0 ]] || { is_count "$rank" && ((rank < nodes)); } ||
        fail "NODE_RANK must be from 0 to $((nodes - 1)), got '$rank'"
    is_count "${MASTER_PORT:-29500}" || fail "MASTER_PORT must be a port number, got '$MASTER_PORT'"
    launch+=(--nnodes "$nodes" --node_rank "$rank")
    launch+=(--master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${MASTER_PORT:-29500}")
fi

python=${PYTHON:-python}
command -v "$python" >/dev/null || fail "no program $python; PYTHON=... names the interpreter that has handpose"
# Processes that share cores would only wait for each other's threads.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "$python" -m torch.distributed.run "${launch[@]}" "$here/$tool.py" "$config" "$@" --launcher pytorch
