#!/usr/bin/env bash
# Makes a machine a node of the cluster: the locked environment, caches on a disk of its own, the token and the secrets
# for its owner's eyes only. The same script on every node of every kind of cluster; run again it changes nothing.
#   VENV=/shared/venv   an environment that is there already (on a shared disk, in an image): nothing is installed
#   CACHE=/scratch/me   where models and data are cached; without it the node's own fast disk, where it has one
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
mkdir -p ~/.crosscells
chmod 700 ~/.crosscells

for secret in ~/.ray/auth_token ~/.crosscells/secrets.env; do
    [ -e "$secret" ] || { echo "error: $secret is not here; make it with clusters/keys.sh where the cluster is started" >&2; exit 2; }
    chmod 600 "$secret"
done

local_disk() { # the instance store of AWS' images, else the local SSD of Google's machines (made ready on first use)
    if [ -d /opt/dlami/nvme ]; then
        echo /opt/dlami/nvme
    elif [ -b /dev/disk/by-id/google-local-nvme-ssd-0 ]; then
        if ! mountpoint -q /mnt/local; then
            sudo mkfs.ext4 -q -F /dev/disk/by-id/google-local-nvme-ssd-0 >&2
            sudo mkdir -p /mnt/local
            sudo mount /dev/disk/by-id/google-local-nvme-ssd-0 /mnt/local
        fi
        echo /mnt/local
    fi
}

cache=${CACHE:-}
if [ -z "$cache" ]; then
    disk=$(local_disk)
    cache=${disk:+$disk/crosscells}
    cache=${cache:-$HOME/.cache/crosscells}
fi
mkdir -p "$cache" 2>/dev/null || { sudo mkdir -p "$cache" && sudo chown "$(id -u):$(id -g)" "$cache"; }

if [ -z "${VENV:-}" ]; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        sudo apt-get -o DPkg::Lock::Timeout=300 update -q
        sudo apt-get -o DPkg::Lock::Timeout=300 install -q -y python3-venv
    fi
    ./install.sh
    VENV=$here/.venv
fi
[ -x "$VENV/bin/ray" ] || { echo "error: VENV = $VENV has no ray in it; unset VENV to have it made here" >&2; exit 2; }

own=$(clusters/own.sh)
cat >~/.crosscells/env.sh <<EOF
export PATH="$VENV/bin:\$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$own"
export HF_HOME="$cache/huggingface"
set -a; . ~/.crosscells/secrets.env; set +a
EOF
grep -qs '\.crosscells/env\.sh' ~/.bashrc || echo '. ~/.crosscells/env.sh' >>~/.bashrc
