"""Under which licence a base or a data set is, as far as it says so itself; and which the Hub knows by an id.

Nothing is asked of the Hub unless `ask` says so: without it only what lies on this machine is read.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml

from study.errors import ConfigError

# https://huggingface.co/docs/hub/repositories-licenses, October 2026
_WORDS = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research
intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit
mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openmdw-1.1 openrail openrail++ osl-3.0 pddl postgresql unknown
unlicense wtfpl zlib other
"""
IDS = frozenset(_WORDS.split())


def check(licence: str | None) -> None:
    """Raise ConfigError for one that the Hub has no id of."""
    if licence is not None and licence not in IDS:
        near = difflib.get_close_matches(licence.lower(), sorted(IDS), 3, 0.5) or ["apache-2.0", "cc-by-4.0", "mit"]
        fix = f"an id of the Hub's own list, such as {', '.join(near)}; `other` for one that it lacks"
        raise ConfigError("--licence", licence, "the Hub knows no such licence", fix)


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
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        card = HfApi().model_info(name).card_data if kind == "model" else HfApi().dataset_info(name).card_data
    except (HTTPError, HFValidationError, OSError):
        return None
    return _words({key: getattr(card, key, None) for key in ("license_name", "license")})


def _words(stated: dict[str, object]) -> str | None:
    licence = stated.get("license_name") or stated.get("license")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence) if licence else None
