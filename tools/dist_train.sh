#!/usr/bin/env bash
# Trains in several processes; `tools/dist_train.sh --help` says how.
exec "$(dirname "${BASH_SOURCE[0]}")/dist_run.sh" train "$@"
