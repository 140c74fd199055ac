#!/usr/bin/env bash
# All tests but the long ones, in two processes: those of the orchestrator mostly wait for Ray, so the others run beside
# them. What the others say is printed when all have ended. An interrupt ends both; the exit code is that of a half that
# failed.
set -u
cd "$(dirname "$0")/.." || exit
log=$(mktemp)
trap 'cat "$log"; rm "$log"' EXIT

stop() {
    trap 'kill -KILL -- "-$waiting" "-$computing" 2>/dev/null' INT TERM HUP # who asks twice does not want to wait
    kill -INT -- "-$waiting" "-$computing" 2>/dev/null
    wait
    exit 130
}

set -m # a group for each half, which could not be interrupted without
.venv/bin/python -m pytest -m "not long" --ignore=tests/orchestrator >"$log" 2>&1 &
computing=$!
.venv/bin/python -m pytest -m "not long" tests/orchestrator &
waiting=$!
trap stop INT TERM HUP
code=0
wait "$waiting" || code=$?
wait "$computing" || code=$?
exit "$code"
