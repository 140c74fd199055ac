"""Under which licence a base or a data set is, as far as it says so itself.

Nothing is asked of the Hub unless `ask` says so: without it only what lies on this machine is read.
"""

from __future__ import annotations

from pathlib import Path

import yaml

UNKNOWN = "not known here; see where it comes from"


def of_model(name: str, revision: str | None, ask: bool) -> str | None:
    """The licence that a model's card states; None where it states none, or cannot be read. `name` may be a folder."""
    if revision is None:
        return _in_card(Path(name) / "README.md")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "README.md", revision=revision)
    found = _in_card(Path(cached)) if isinstance(cached, str) else None
    return found or (_asked(name, "model") if ask else None)


def of_data(name: str, ask: bool) -> str | None:
    """Likewise of a data set of the Hub."""
    return _asked(name, "dataset") if ask else None


def _in_card(file: Path) -> str | None:
    if not file.is_file():
        return None
    parts = file.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        return None
    try:
        stated = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    return _words(stated) if isinstance(stated, dict) else None


def _asked(name: str, kind: str) -> str | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        card = HfApi().model_info(name).card_data if kind == "model" else HfApi().dataset_info(name).card_data
    except (HfHubHTTPError, HFValidationError, OSError):
        return None
    return _words({key: getattr(card, key, None) for key in ("license_name", "license")})


def _words(stated: dict[str, object]) -> str | None:
    licence = stated.get("license_name") or stated.get("license")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence) if licence else None
