"""The token without which a cluster answers nobody: where it is, and that only its owner reads it.

Imports nothing of Ray, which reads RAY_AUTH_MODE once, when it is imported.
"""

from __future__ import annotations

import os
from pathlib import Path

TOKEN_FILE = Path("~/.ray/auth_token")  # where Ray looks for it, and puts the one it makes
TOKEN_FIX = (
    "copy ~/.ray/auth_token of the machine that started the cluster to the same place here, readable by you alone, "
    "or name such a file in RAY_AUTH_TOKEN_PATH"
)


def use_token() -> None:
    """Have Ray show the token where there is one: its job client does not look itself. Call before importing Ray."""
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if given or TOKEN_FILE.expanduser().exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def keep_to_owner() -> None:
    """Ray makes its token file readable by everybody on the machine: take that back."""
    token = TOKEN_FILE.expanduser()
    if token.exists() and token.stat().st_uid == os.getuid():
        token.chmod(0o600)
