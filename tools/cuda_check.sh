#!/usr/bin/env bash
# Checks the project on a machine with a GPU, PyTorch and no network:
#   tools/cuda_check.sh pack                  with a network: download the wheels that such a machine lacks
#   tools/cuda_check.sh [--out FILE.json]     there: run every check and write one JSON (--help lists the options)
#   tools/cuda_check.sh --device cpu --small  a trial of the whole without a GPU
# Environment: PYTHON, default python3; WHEELS, the folder of wheels, default build/cuda_check/wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
export WHEELS="${WHEELS:-build/cuda_check/wheels}"
export PYTHONPATH="$PWD:$PWD/tools${PYTHONPATH:+:$PYTHONPATH}"
if [ "${1:-}" = pack ]; then
  exec "${PYTHON:-python3}" -m cuda_check.wheels pack "$WHEELS"
fi
exec "${PYTHON:-python3}" -m cuda_check.driver --wheels "$WHEELS" "$@"
