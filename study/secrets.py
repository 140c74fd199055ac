"""What looks like a secret, by its name or by its shape: it must not come into a config, a command line or a store.

Those are written to logs, process titles and results. A guess by nature: names and shapes of the services that studies
meet. Invariant: what is said of a find never holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from study.errors import ConfigError

FIX = "the environment has it where it is needed: ~/.crosscells/secrets.env of the nodes (docs/cluster.md)"
_NAMES = re.compile(
    r"TOKEN(?!S|IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|COOKIE|BEARER|(^|_)(API|ACCESS)?_?(KEY|PWD|AUTH|PAT|DSN)(_|$)"
    r"|APIKEY|SIGNATURE|(^|_)SIG$|WEBHOOK|CONNECTION_STRING|DATABASE_URL|_PROXY$",
    re.IGNORECASE,
)
_SHAPES = {
    "a Hugging Face token": r"\b(hf|api_org)_[A-Za-z0-9]{16,}",
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{12,}",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{16,}",
    "a Slack token": r"\bxox[abeprs]-[\w-]{10,}",
    "a Google key": r"\b(AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})",
    "an API key": r"\b(sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bwandb_v\d_\w{20,}",
    "a signed token (JWT)": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a user and a password in an address": r"\w://[^/?#\s:@]*:[^/?#\s@]+@",
    "a password in an address": r"\w://[^\s#]*[?&](?i:[^=&\s]*(secret|token|passw|key|sig)[^=&\s]*)=[^&\s]",
}
_RANDOM = re.compile(r"[A-Za-z0-9+/_=-]{32,}")  # as long as keys are, with nothing in between


def is_name(name: str) -> bool:
    """Whether a variable of that name holds a secret."""
    return _NAMES.search(name) is not None


def shape_of(text: str) -> str | None:
    """What kind of secret stands in a text, if one does."""
    return next((kind for kind, pattern in _SHAPES.items() if re.search(pattern, text)), None)


def is_random(text: str) -> bool:
    """Whether a text is nothing but a long row of letters and digits, as keys without a prefix are."""
    return bool(_RANDOM.fullmatch(text)) and bool(re.search("[0-9]", text) and re.search("[A-Za-z]", text))


def reject(key: str, value: object) -> None:
    """Raise ConfigError where a secret stands in a value, or anywhere inside it."""
    for place, text in _texts(key, value):
        if (kind := shape_of(text)) is not None:
            raise ConfigError(place, "…", f"holds {kind}, which would be written to logs and to the store", FIX)


def _texts(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield key, str(name)
            yield from _texts(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, Sequence):
        for i, inner in enumerate(value):
            yield from _texts(f"{key}[{i}]", inner)
