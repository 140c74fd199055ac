#!/usr/bin/env bash
# The tests in processes side by side, whose words follow each other.
#   tests/run.sh         all but the long ones, in parts of which four run at a time; those of clusters and faults mostly wait
#   tests/run.sh unit    those without Ray, DeepSpeed or processes of their own, in two processes of about the same length
# An interrupt ends all; the exit code is that of a part that failed.
set -u
cd "$(dirname "$0")/.." || exit
if [ "${1:-}" = unit ]; then
    level=unit parts=("tests" "tests/adapters tests/analysis/page tests/analysis/statistics tests/analysis/tables tests/evaluators tests/orchestrator")
else
    level="not long" parts=( # the first has what no other names, and speaks at once; those that take longest begin first
        "tests"
        "tests/trainers"
        "tests/orchestrator"
        "tests/faults"
        "tests/analysis"
        "tests/evaluators tests/device"
        "tests/orchestrator/training"
        "tests/examples"
        "tests/study/store"
        "tests/orchestrator/cluster tests/orchestrator/test_submit.py"
        "tests/analysis/inference"
    )
fi
logs=$(mktemp -d)
trap 'cat "$logs"/[0-9]*; no_forks; rm -r "$logs"' EXIT
pids=()

no_forks() { # each takes seconds of imports that a fork has done
    [ -s "$logs/stem/refused" ] || return 0
    echo "started as no forks, for variables that differ (tests/support/forks/keeper.py):"
    sort "$logs/stem/refused" | uniq -c
}

stop() {
    trap 'kill -KILL -- "${pids[@]/#/-}" 2>/dev/null' INT TERM HUP # who asks twice does not want to wait
    kill -INT -- "${pids[@]/#/-}" 2>/dev/null
    exec 3>&-
    wait
    exit 130
}

python=(.venv/bin/python -m)
if [ "$level" != unit ]; then # one process with the imports of all parts and their workers; it ends when its input does
    export TEST_STEM="$logs/stem" OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    mkdir "$TEST_STEM"
    exec 3> >(exec .venv/bin/python -m tests.support.forks.stem "$TEST_STEM")
    while [ ! -S "$TEST_STEM/tests" ]; do sleep 0.1; done
    python=(.venv/bin/python tests/support/forks/module.py)
fi
set -m # a group for each part, which could not be interrupted without
trap stop INT TERM HUP
for part in "${parts[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 4 ]; do wait -n; done
    read -ra paths <<<"$part"
    command=("${python[@]}" pytest -m "$level" "${paths[@]}")
    read -ra named <<<"${parts[*]}"
    for other in "${named[@]}"; do # a part leaves to others what they name below it
        for path in "${paths[@]}"; do
            [[ "$other" != "$path"/* ]] || command+=("--ignore=$other")
        done
    done
    if [ ${#pids[@]} -eq 0 ]; then
        "${command[@]}" 3>&- &
    else
        "${command[@]}" >"$logs/${#pids[@]}" 2>&1 3>&- &
    fi
    pids+=($!)
done
code=0
for pid in "${pids[@]}"; do
    wait "$pid" || code=$?
done
exit "$code"
