#!/usr/bin/env bash
# Prints a folder in this machine's temporary space that its user alone may enter, and makes it where it is not there yet.
# Ray's sessions go into it, since Ray lets everybody write to what it makes. Fails where another has taken the folder's place.
#   TMP_BASE=/scratch   in the place of /tmp
set -euo pipefail
own=${TMP_BASE:-/tmp}/cc-$(id -un)
mkdir -m 700 "$own" 2>/dev/null || true
if [ ! -d "$own" ] || [ -L "$own" ] || [ ! -O "$own" ] || [[ "$(stat -c %a "$own")" != *700 ]]; then  # 2700 below a setgid folder
    echo "error: $own is not a folder that $(id -un) alone may enter" >&2
    echo "  fix: chmod 700 it if it is yours; else have its owner remove it" >&2
    exit 2
fi
echo "$own"
