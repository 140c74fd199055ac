"""The layout of a store: the name of every folder and file in it, made and read here and nowhere else.

All paths are relative to the store's URI. No store is asked for anything: a path is made from values, or taken apart
into them.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import UTC, datetime

from study.cells import COMPOSED
from study.store.version import SCHEMA_VERSION

STUDY_FILE, GRID_FILE, RECORD_FILE = "study.yaml", "grid.parquet", "record.json"
SEEN_FILE = "seen.json"  # what planning saw of the data
WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
TOKENIZER_FILE = "tokenizer.json"
CHECKSUMS_FILE = "checksums.json"  # of an adapter made elsewhere
COMPOSED_FILE = "composition.json"  # of an adapter put together of others, written last
ADAPTERS, ITEMS, SCORES, FAILURES, LOGS = "adapters", "results/items", "results/scores", "failures", "logs"
PROMPTS = "prompts"  # what targets ask, for people
CHECKPOINTS, INDEX, LEASE, DAMAGED, SWAPS = "checkpoints", "index", "lease", "damaged", "swaps"
SCORES_INDEX, RECORDS_INDEX = f"{INDEX}/scores-{SCHEMA_VERSION}", f"{INDEX}/records"
EXCLUDED, RUNS = f"{LOGS}/excluded", f"{LOGS}/runs"
_EPOCH = "epoch"
_ANY = "any"
_GIVEN = "existing"  # where other adapters have their task
OPEN, ENDED = ".json", ".ended"  # of swaps


def adapter_folder(model: str, task: str, language: str, seed: int, named: str) -> str:
    """Name the folder of an adapter that the study trains; its name ends in the adapter_id."""
    return f"{ADAPTERS}/{model}/{task}/{language}/seed{seed}-{named}"


def epoch_folder(folder: str, epoch: int) -> str:
    """Name the folder, in an adapter's own, of what it had come to after an epoch."""
    return f"{folder}/{_EPOCH}{epoch}"


def epoch_id(adapter_id: str, epoch: int) -> str:
    """Name what an adapter had come to after an epoch of its training."""
    return f"{adapter_id}-{_EPOCH}{epoch}"


def of_epoch(name: str) -> str:
    """The adapter whose epoch has this name."""
    return name.rpartition(f"-{_EPOCH}")[0]


def epoch_in(name: str) -> int:
    """Read the epoch off the last part of its folder."""
    return int(name.removeprefix(_EPOCH))


def is_epoch(folder: str) -> bool:
    """Whether a folder is that of an epoch in an adapter's own."""
    inside, _, name = folder.rpartition("/")
    return re.fullmatch(rf"{_EPOCH}\d+", name) is not None and is_trained(inside)


def given_folder(model: str, name: str, adapter_id: str) -> str:
    """Name the folder of an adapter that was trained elsewhere."""
    return f"{ADAPTERS}/{model}/{_GIVEN}/{name}-{adapter_id}"


def composed_folder(model: str, name: str, seed: int | None, adapter_id: str) -> str:
    """Name the folder of an adapter that is put together of others."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
    return f"{ADAPTERS}/{model}/{COMPOSED}/{plain}/{'any' if seed is None else f'seed{seed}'}-{adapter_id}"


def is_composed(folder: str) -> bool:
    """Whether an adapter's folder is that of one put together of others."""
    return folder.split("/")[2:3] == [COMPOSED] and folder.count("/") == 4


def is_given(folder: str) -> bool:
    """Whether an adapter's folder is that of one trained elsewhere: one trained here lies a level deeper."""
    return folder.split("/")[2:3] == [_GIVEN] and folder.count("/") == 3


def is_trained(folder: str) -> bool:
    """Whether an adapter's folder is one of those that the study trains."""
    words = folder.split("/")
    return (
        len(words) == 5
        and words[0] == ADAPTERS
        and words[2] != COMPOSED
        and re.fullmatch(r"seed-?\d+(-[\w.-]+)?-\w+", words[4]) is not None
    )


def is_of_study(folder: str) -> bool:
    """Whether only a study can have named an adapter's folder: by the 16 hex digits of an id."""
    return (is_trained(folder) or is_given(folder) or is_composed(folder)) and re.fullmatch(
        "[0-9a-f]{16}", adapter_in(folder)
    ) is not None


def model_in(folder: str) -> str:
    """Read the model off an adapter's folder."""
    return folder.split("/")[1]


def task_in(folder: str) -> str:
    """Read the tasks off the folder of an adapter that the study trains."""
    return folder.split("/")[2]


def stage_in(folder: str) -> str:
    """Read the name of a stage off the folder of its adapter."""
    return task_in(folder).rpartition("@")[2]


def adapter_in(folder: str) -> str:
    """Read the adapter_id off an adapter's folder."""
    return folder.rpartition("-")[2]


def hung_file(when: datetime, what: str) -> str:
    """Name the file that says where a process stood that did nothing."""
    return f"{LOGS}/hung/{when:%Y%m%dT%H%M%S.%f}-{re.sub(r'[^A-Za-z0-9._-]+', '-', what)[:100]}.txt"


def failure_file(unit_id: str) -> str:
    return f"{FAILURES}/{unit_id}.json"


def unit_in(file: str) -> str:
    """Read the unit_id off a failure's file."""
    return file.rpartition("/")[2].removesuffix(".json")


def new_part(folder: str, data: bytes, rows: int | None = None) -> str:
    """Name a new part of the results or segment of an index; the name has 16 digits of its sha256.

    That of a large part, which others were put together into, ends in the number of its `rows`.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}-{hashlib.sha256(data).hexdigest()[:16]}"
    return f"{folder}/{name}{'' if rows is None else f'-{rows}'}.parquet"


def rows_in(file: str) -> int | None:
    """Read the number of rows off the name of a large part; None for another part."""
    words = _words(file)
    return int(words[3]) if len(words) == 4 and words[3].isdecimal() else None


def prompts_file(target_id: str, base: str | None, data: bytes) -> str:
    """Name the file of what a target asks: of one base, or of all where `base` is None."""
    return f"{PROMPTS}/{target_id}-{base or _ANY}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"


def way_in(file: str) -> tuple[str, str | None]:
    """Read off the name of such a file which target it is of, and of which base, if not of all."""
    target_id, base, *_ = [*file.removeprefix(f"{PROMPTS}/").rsplit("-", 2), ""]
    return target_id, None if base == _ANY else base


def lease_file(generation: int) -> str:
    return f"{LEASE}/{generation:08d}.json"


def is_lease(file: str) -> bool:
    """Whether a file has the name of a lease."""
    return re.fullmatch(rf"{LEASE}/[0-9]{{8}}\.json", file) is not None


def swap_file(number: int, ending: str) -> str:
    """Name a swap of parts that is open, or the trace of one that has ended."""
    return f"{SWAPS}/{number:08d}{ending}"


def swap_in(file: str) -> int:
    """Read the number off a swap's file; 0 for what is none."""
    name = file.rpartition("/")[2].partition(".")[0]
    return int(name) if name.isdecimal() else 0


def is_as_named(file: str, data: bytes) -> bool:
    """Whether a part, segment or file of prompts has the checksum that its name states. Older parts state none."""
    stated = _words(file)[2:]
    return not stated or hashlib.sha256(data).hexdigest().startswith(stated[0])


def _words(file: str) -> list[str]:
    return file.rpartition("/")[2].removesuffix(".parquet").split("-")
