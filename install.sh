#!/usr/bin/env bash
# Makes .venv with the pinned versions of constraints.txt; does nothing when that is already so.
# The same script serves a laptop, a GPU machine and every node of a cluster.
#   ./install.sh          what the tests and the quickstart need
#   PYTHON=python3.12 ./install.sh
#   GPU=1 ./install.sh    the CUDA build of torch though no GPU is seen here: for an image, or on a login node
# torch: the CUDA build where nvidia-smi finds a GPU, else the CPU build: from any index pip is set up with, or through
# uv, which knows where CPU builds are; if neither has one, the default build (it runs on a CPU too, but is large).
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
TORCH=$(sed -n 's/.*"torch==\(.*\)".*/\1/p' pyproject.toml)

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: PYTHON = $PYTHON is $("$PYTHON" --version 2>&1), Python 3.11 or newer is needed" >&2
    echo "  fix: PYTHON=/path/to/python3.11 make ..." >&2
    exit 2
}
stamp=.venv/.installed-$(cat pyproject.toml constraints.txt install.sh | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])')
[ -e "$stamp" ] && exit 0

echo "installing into .venv (minutes, once) ..."
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

install_torch() {
    if [ -n "${GPU:-}" ] || nvidia-smi -L >/dev/null 2>&1 || [ "$(uname)" = Darwin ]; then
        pip install -q "torch==$TORCH"
        return
    fi
    pip install -q "torch==$TORCH+cpu" 2>/dev/null && return
    pip install -q uv && .venv/bin/uv pip install -q --python .venv/bin/python --torch-backend=cpu "torch==$TORCH" 2>/dev/null && return
    echo "no CPU build of torch $TORCH was found: installing the default build" >&2
    pip install -q "torch==$TORCH"
}

.venv/bin/python -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '$TORCH')" 2>/dev/null || install_torch
pip install -q -c constraints.txt -e '.[dev]'
rm -f .venv/.installed-*
touch "$stamp"
