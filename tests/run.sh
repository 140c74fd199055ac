#!/usr/bin/env bash
# The tests in two processes of about the same length, for two cores, whose words follow each other.
#   tests/run.sh         all but the long ones: those of the orchestrator beside all others
#   tests/run.sh unit    those without Ray, DeepSpeed or processes of their own
# An interrupt ends both; the exit code is that of a half that failed.
set -u
cd "$(dirname "$0")/.." || exit
if [ "${1:-}" = unit ]; then
    level=unit mine=(tests/adapters tests/evaluators)
else
    level="not long" mine=(tests/orchestrator)
fi
log=$(mktemp)
trap 'cat "$log"; rm "$log"' EXIT

stop() {
    trap 'kill -KILL -- "-$one" "-$other" 2>/dev/null' INT TERM HUP # who asks twice does not want to wait
    kill -INT -- "-$one" "-$other" 2>/dev/null
    wait
    exit 130
}

set -m # a group for each half, which could not be interrupted without
.venv/bin/python -m pytest -m "$level" "${mine[@]/#/--ignore=}" >"$log" 2>&1 &
other=$!
.venv/bin/python -m pytest -m "$level" "${mine[@]}" &
one=$!
trap stop INT TERM HUP
code=0
wait "$one" || code=$?
wait "$other" || code=$?
exit "$code"
