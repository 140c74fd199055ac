#!/usr/bin/env bash
# All tests but the long ones, in two processes of about the same length: those of the orchestrator, and all others, whose
# words are printed when both have ended. An interrupt ends both; the exit code is that of a half that failed.
set -u
cd "$(dirname "$0")/.." || exit
log=$(mktemp)
trap 'cat "$log"; rm "$log"' EXIT

stop() {
    trap 'kill -KILL -- "-$orchestrator" "-$others" 2>/dev/null' INT TERM HUP # who asks twice does not want to wait
    kill -INT -- "-$orchestrator" "-$others" 2>/dev/null
    wait
    exit 130
}

set -m # a group for each half, which could not be interrupted without
.venv/bin/python -m pytest -m "not long" --ignore=tests/orchestrator >"$log" 2>&1 &
others=$!
.venv/bin/python -m pytest -m "not long" tests/orchestrator &
orchestrator=$!
trap stop INT TERM HUP
code=0
wait "$orchestrator" || code=$?
wait "$others" || code=$?
exit "$code"
