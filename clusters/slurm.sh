#!/usr/bin/env bash
# A study as a Slurm job: a Ray cluster of the job's nodes, the study on it, nothing left behind. Submit it from the folder
# of README.md, on a file system that all nodes share, with the environment made there once (`GPU=1 ./install.sh`):
#   sbatch clusters/slurm.sh study.yaml --set seeds=[17]
# Before the time is up the study stops cleanly and the job queues again; it goes on where it was.
#SBATCH --job-name=crosscells
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
export PATH="${VENV:-$PWD/.venv}/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0
own=$(clusters/own.sh)                                  # in /tmp, the same name on each node
export HF_HOME=${CACHE:-${SLURM_TMPDIR:-$own}}/huggingface   # a disk of each node's own

umask 077 # a token for this job alone, in a file that only its owner reads
mkdir -p ~/.ray
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/slurm-$SLURM_JOB_ID
head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))
address=$(srun --overlap --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname -I | awk '{print $1}')
start() { # start NODE ray-start-options…: Ray on one node, until the job ends; not where its folder there is another's
    srun --overlap --nodes=1 --ntasks=1 -w "$1" \
        env RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$RAY_AUTH_TOKEN_PATH" \
        bash -c 'clusters/own.sh >/dev/null && exec "$@"' own \
        ray start --block --disable-usage-stats --num-cpus="${SLURM_CPUS_PER_TASK:-1}" "${@:2}" >"ray-$SLURM_JOB_ID-$1.log" 2>&1 &
    steps+=($!)
}
steps=()
finish() {
    kill "${steps[@]}" 2>/dev/null || true
    wait "${steps[@]}" 2>/dev/null || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap finish EXIT

start "${nodes[0]}" --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1 --temp-dir="$own/$SLURM_JOB_ID"
for _ in $(seq 60); do ray health-check --address "$address:$port" >/dev/null 2>&1 && break; sleep 1; done
for node in "${nodes[@]:1}"; do start "$node" --address="$address:$port"; done

queue_again=
RAY_ADDRESS=$address:$port python -m orchestrator.sweep "$@" &
study=$!
trap 'queue_again=yes; kill -TERM $study 2>/dev/null' TERM
code=0
wait $study || code=$?
[ -z "$queue_again" ] || { wait $study || code=$?; scontrol requeue "$SLURM_JOB_ID"; }
exit $code
