"""The layout of a store: the name of every folder and file in it, made and read here and nowhere else.

All paths are relative to the store's URI. No store is asked for anything: a path is made from values, or taken apart
into them.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

from study.store.schema import SCHEMA_VERSION

STUDY_FILE, GRID_FILE, RECORD_FILE = "study.yaml", "grid.parquet", "record.json"
WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
TOKENIZER_FILE = "tokenizer.json"
CHECKSUMS_FILE = "checksums.json"  # of an adapter made elsewhere
ADAPTERS, ITEMS, SCORES, FAILURES, LOGS = "adapters", "results/items", "results/scores", "failures", "logs"
CHECKPOINTS, INDEX, LEASE, DAMAGED = "checkpoints", "index", "lease", "damaged"
SCORES_INDEX, RECORDS_INDEX = f"{INDEX}/scores-{SCHEMA_VERSION}", f"{INDEX}/records"
EXCLUDED, RUNS = f"{LOGS}/excluded", f"{LOGS}/runs"
_GIVEN = "existing"  # where other adapters have their task


def adapter_folder(model: str, task: str, language: str, seed: int, adapter_id: str) -> str:
    """Name the folder of an adapter that the study trains."""
    return f"{ADAPTERS}/{model}/{task}/{language}/seed{seed}-{adapter_id}"


def given_folder(model: str, name: str, adapter_id: str) -> str:
    """Name the folder of an adapter that was trained elsewhere."""
    return f"{ADAPTERS}/{model}/{_GIVEN}/{name}-{adapter_id}"


def is_given(folder: str) -> bool:
    """Whether an adapter's folder is that of one trained elsewhere: one trained here lies a level deeper."""
    return folder.split("/")[2:3] == [_GIVEN] and folder.count("/") == 3


def model_in(folder: str) -> str:
    """Read the model off an adapter's folder."""
    return folder.split("/")[1]


def adapter_in(folder: str) -> str:
    """Read the adapter_id off an adapter's folder."""
    return folder.rpartition("-")[2]


def failure_file(unit_id: str) -> str:
    return f"{FAILURES}/{unit_id}.json"


def unit_in(file: str) -> str:
    """Read the unit_id off a failure's file."""
    return file.rpartition("/")[2].removesuffix(".json")


def new_part(folder: str, data: bytes) -> str:
    """Name a new part of the results or segment of an index; the name ends in 16 digits of its sha256."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}-{hashlib.sha256(data).hexdigest()[:16]}"
    return f"{folder}/{name}.parquet"


def is_as_named(file: str, data: bytes) -> bool:
    """Whether a part or segment has the checksum that its name ends in. One of an older release states none."""
    stated = file.rpartition("/")[2].removesuffix(".parquet").split("-")[2:]
    return not stated or hashlib.sha256(data).hexdigest().startswith(stated[0])
