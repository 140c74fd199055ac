#!/usr/bin/env bash
# The tests in processes side by side, whose words follow each other.
#   tests/run.sh         all but the long ones, in four parts of about the same length; those of clusters and faults mostly wait
#   tests/run.sh unit    those without Ray, DeepSpeed or processes of their own, in two processes of about the same length
# An interrupt ends all; the exit code is that of a part that failed.
set -u
cd "$(dirname "$0")/.." || exit
if [ "${1:-}" = unit ]; then
    level=unit parts=("tests/adapters tests/evaluators tests/orchestrator")
else
    level="not long" parts=(
        "tests/orchestrator/cluster tests/orchestrator/test_submit.py tests/orchestrator/training"
        "tests/orchestrator tests/study/store"
        tests/faults
    )
fi
named=() # in the parts so far, which those that follow leave out
logs=$(mktemp -d)
trap 'cat "$logs"/*; rm -r "$logs"' EXIT
pids=()

stop() {
    trap 'kill -KILL -- "${pids[@]/#/-}" 2>/dev/null' INT TERM HUP # who asks twice does not want to wait
    kill -INT -- "${pids[@]/#/-}" 2>/dev/null
    wait
    exit 130
}

set -m # a group for each part, which could not be interrupted without
trap stop INT TERM HUP
for part in "${parts[@]}"; do
    read -ra paths <<<"$part"
    .venv/bin/python -m pytest -m "$level" "${paths[@]}" "${named[@]/#/--ignore=}" >"$logs/${#pids[@]}" 2>&1 &
    pids+=($!)
    named+=("${paths[@]}")
done
.venv/bin/python -m pytest -m "$level" "${named[@]/#/--ignore=}" &
pids+=($!)
code=0
for pid in "${pids[@]}"; do
    wait "$pid" || code=$?
done
exit "$code"
