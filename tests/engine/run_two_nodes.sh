#!/usr/bin/env bash
# Trains the small Deformer on random clips on two machines that this one plays, one process on each.
set -euo pipefail

usage() {
    cat <<'END'
usage: tests/engine/run_two_nodes.sh namespaces|ports WORK_DIR [arguments of tools/train.py]

Starts tools/dist_train.sh twice, with NODE_RANK 0 and 1, as one would on two machines.
  namespaces  each node has a network of its own, joined by a virtual cable (needs root and iproute2)
  ports       both nodes share this machine's loopback
END
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if [[ $# -lt 2 || ! $1 =~ ^(namespaces|ports)$ ]]; then
    usage >&2
    exit 2
fi
mode=$1
work_dir=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
export NNODES=2
nodes=()

clean_up() {
    for node in "${nodes[@]}"; do
        kill "$node" 2>/dev/null || true
    done
    if [[ $mode == namespaces ]]; then
        for rank in 0 1; do
            ip netns del "handpose-$$-$rank" 2>/dev/null || true
        done
    fi
}
trap clean_up EXIT
trap 'exit 143' INT TERM

lay_cable() {
    for rank in 0 1; do
        ip netns add "handpose-$$-$rank"
    done
    ip link add cable0 netns "handpose-$$-0" type veth peer name cable1 netns "handpose-$$-1"
    for rank in 0 1; do
        ip -n "handpose-$$-$rank" address add "10.77.0.$((rank + 1))/24" dev "cable$rank"
        ip -n "handpose-$$-$rank" link set lo up
        ip -n "handpose-$$-$rank" link set "cable$rank" up
    done
}

start_node() {
    local rank=$1 inside=()
    shift
    export NODE_RANK=$rank
    if [[ $mode == namespaces ]]; then
        inside=(ip netns exec "handpose-$$-$rank")
        # gloo asks for the address of the host's name, which does not lie in the new network.
        export MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 GLOO_SOCKET_IFNAME=cable$rank
    else
        export MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
    fi
    "${inside[@]}" "$here/../../tools/dist_train.sh" "$here/random_clips_config.py" 1 --work-dir "$work_dir" "$@" &
    nodes+=($!)
}

if [[ $mode == namespaces ]]; then
    lay_cable
else
    port=$("${PYTHON:-python}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi
start_node 0 "$@"
start_node 1 "$@"
# The first node that fails ends the other one too (see the trap).
for _ in 0 1; do
    wait -n
done
nodes=()
echo "two nodes ($mode): both ended well"
