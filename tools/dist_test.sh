#!/usr/bin/env bash
# Tests in several processes; `tools/dist_test.sh --help` says how.
exec "$(dirname "${BASH_SOURCE[0]}")/dist_run.sh" test "$@"
