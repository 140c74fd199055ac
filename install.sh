#!/usr/bin/env bash
# Makes .venv with what lock.txt pins, by version and hash; does nothing when that is already so.
# The same script serves a laptop, a GPU machine and every node of a cluster.
#   ./install.sh          what the tests and the quickstart need
#   PYTHON=python3.12 ./install.sh
#   GPU=1 ./install.sh    the CUDA build of torch though no GPU is seen here: for an image, or on a login node
#   ./install.sh renew    write lock.txt, and audit.txt (`make audit`'s own), anew: what pyproject.toml asks for, at the versions that lock.txt has
#   ./install.sh renew --upgrade (or --upgrade-package NAME)    at the newest versions that fit
# torch: the CUDA build, by hash, where nvidia-smi finds a GPU (on macOS the only one), else the CPU build, whose hashes PyPI
# does not know: by its version, from any index pip is set up with, or through uv, which knows where CPU builds are; if
# neither has one, the default build (it runs on a CPU too, but is large).
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
TORCH=$(sed -n 's/.*"torch==\(.*\)".*/\1/p' pyproject.toml)

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: PYTHON = $PYTHON is $("$PYTHON" --version 2>&1), Python 3.11 or newer is needed" >&2
    echo "  fix: PYTHON=/path/to/python3.11 make ..." >&2
    exit 2
}
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

# The entries of lock.txt that an expression matches, or with `!` those that it does not.
locked() { awk -v pattern="^($2)==" -v match_it="$1" '/^[a-z0-9]/ { on = ($0 ~ pattern) == match_it } on' lock.txt; }

install_locked() {
    locked "$1" "$2" >.venv/locked.txt
    pip install -q --no-deps --no-build-isolation --use-pep517 --require-hashes -r .venv/locked.txt || {
        echo "error: lock.txt could not be installed: what pip says above names the package" >&2
        echo "  fix: if hashes do not match, the package index serves other files than PyPI, or somebody has changed them:" >&2
        echo "       use PyPI or a faithful mirror; if nothing was found, try again, or renew the lock: ./install.sh renew" >&2
        exit 2
    }
}

OF_TORCH='torch|triton|nvidia-.*|cuda-.*'

torch_there() { .venv/bin/python -c "import importlib.metadata as m; print(m.version('torch'))" 2>/dev/null || true; }
wants_gpu() { [ -n "${GPU:-}" ] || nvidia-smi -L >/dev/null 2>&1 || [ "$(uname)" = Darwin ]; }

install_torch() {
    if wants_gpu; then
        install_locked 1 "$OF_TORCH"
        return
    fi
    pip install -q --no-deps "torch==$TORCH+cpu" 2>/dev/null && return
    install_locked 1 uv
    .venv/bin/uv pip install -q --no-deps --python .venv/bin/python --torch-backend=cpu "torch==$TORCH" 2>/dev/null && return
    echo "no CPU build of torch $TORCH was found: installing the default build" >&2
    install_locked 1 "$OF_TORCH"
}

renew() {
    [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
    [ -x .venv/bin/uv ] || install_locked 1 uv
    .venv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-header -q -o lock.txt "$@" >/dev/null
    echo pip-audit | .venv/bin/uv pip compile - --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-header -q -o audit.txt "$@" >/dev/null
}

usage() { sed -n 's/^#   //p' "$0"; }
case "${1:-}" in
    "") ;;
    renew)
        renew "${@:2}"
        exit
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        echo "error: $1 is nothing that install.sh does; it does" >&2
        usage >&2
        exit 2
        ;;
esac
stamp=.venv/.installed-$(cat pyproject.toml lock.txt install.sh | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])')
if [ -e "$stamp" ] && ! { [ -n "${GPU:-}" ] && [[ "$(torch_there)" = *+cpu ]]; }; then exit 0; fi

echo "installing into .venv (minutes, once) ..."
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
install_locked 1 setuptools # builds what comes as source; so nothing that lock.txt does not name is run
install_locked 0 "$OF_TORCH|uv|setuptools"
case $(torch_there) in
    "$TORCH+cpu")
        if wants_gpu; then
            pip uninstall -q -y torch # to pip both builds are of one version
            install_torch
        fi
        ;;
    "$TORCH" | "$TORCH"+*) install_locked 1 "$OF_TORCH" ;; # what comes with it may have another version
    *) install_torch ;;
esac
pip install -q --no-deps --no-build-isolation -e .
rm -f .venv/.installed-*
touch "$stamp"
