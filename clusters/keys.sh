#!/usr/bin/env bash
# Makes what every node of a cluster must share and nobody else may read, on the machine that starts it; changes nothing
# that is there. `ray up` copies both files to every node:
#   ~/.ray/auth_token          the token without which the cluster answers nobody; Ray looks for it there
#   ~/.crosscells/secrets.env  NAME=value lines (HF_TOKEN=…, WANDB_API_KEY=…) for the processes of a run; may stay empty
set -euo pipefail
umask 077
mkdir -p ~/.ray ~/.crosscells
[ -s ~/.ray/auth_token ] || head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' >~/.ray/auth_token
touch ~/.crosscells/secrets.env
chmod 600 ~/.ray/auth_token ~/.crosscells/secrets.env
echo "token: ~/.ray/auth_token; secrets of a run: ~/.crosscells/secrets.env"
echo "use them in this shell: export RAY_AUTH_MODE=token"
