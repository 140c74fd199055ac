"""How long the full report takes at the reference study's size, beside the same tables in pandas.

`python -m bench.analysis make FOLDER` writes a synthetic store: 9 models × 44 sources × 3 seeds (and the bases) × 44
targets × 400 items, 21 million item rows. `python -m bench.analysis run FOLDER` times the report, table by table, and
the pandas versions of those tables that pandas can make, each in a process of its own, with its peak memory.
`--small` takes 2 models and 1 seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from study.store import schema
from study.store.layout import ITEMS, SCORES
from study.store.store import Store

MODELS = {
    "Llama-3.2-1B-Instruct": 1.0,
    "Llama-3.2-3B-Instruct": 3.0,
    "Llama-3.1-8B-Instruct": 8.0,
    "Qwen2.5-0.5B-Instruct": 0.5,
    "Qwen2.5-1.5B-Instruct": 1.5,
    "Qwen2.5-3B-Instruct": 3.0,
    "Qwen2.5-7B-Instruct": 7.0,
    "gemma-3-1b-it": 1.0,
    "gemma-3-4b-it": 4.0,
}
TASKS = ("arc_challenge", "global_mmlu", "hellaswag", "truthfulqa")
LANGUAGES = ("ar", "bn", "de", "en", "es", "fr", "hi", "id", "it", "pt", "zh")
NOTHING = ("generation", "cut_off", "subtask", "graded", "graded_metric", "metrics")  # of items with options
CELLS = [(task, language) for task in TASKS for language in LANGUAGES]
ITEMS_PER_CELL, OPTIONS = 400, 4
Column = str | int | float | None


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def adapters(models: list[str], seeds: tuple[int, ...]) -> Iterator[tuple[str, tuple[str, str] | None, int | None]]:
    """(model, source, seed) of every adapter, each model's base first."""
    for model in models:
        yield model, None, None
        yield from ((model, source, seed) for source in CELLS for seed in seeds)


def items_of(model: str, source: tuple[str, str] | None, seed: int | None) -> tuple[pa.Table, pa.Table]:
    """Item and score rows of one adapter on every target; items keep their difficulty, so pairs are correlated."""
    n = ITEMS_PER_CELL
    rng = np.random.default_rng(int(_hash(model, source, seed), 16) % 2**32)
    adapter_id = _hash(model, source, seed) if source else None
    base = {"adapter_id": adapter_id, "model": model, "model_params": int(MODELS[model] * 1e9)}
    base |= {"source_task": source and source[0], "source_language": source and source[1]}
    base |= {"source_size": None, "recipe": None, "epoch": None, "seed": seed}
    items, scores = [], []
    for target in CELLS:
        shared = np.random.default_rng(int(_hash(model, target), 16) % 2**32)
        level, difficulty, gold = 0.3 + 0.3 * shared.random(), shared.random(n), shared.integers(0, OPTIONS, n)
        same = 0 if source is None else (source[0] == target[0]) + (source[1] == target[1])
        right = 0.8 * difficulty + 0.2 * rng.random(n) < level + (0.012 * same if source else 0)
        pred = np.where(right, gold, (gold + 1 + rng.integers(0, OPTIONS - 1, n)) % OPTIONS)
        keys = base | {
            "score_id": _hash(adapter_id, model, target),
            "target_task": target[0],
            "target_language": target[1],
        }
        keys = {field.name: keys[field.name] for field in schema.KEYS}
        hashes = [_hash(target, i) for i in range(n)] if source is None else ["same"] * n
        facts = _facts(rng, right, gold, pred, hashes)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        items.append(
            _table(
                schema.ITEMS,
                keys | {"written_at": now} | dict.fromkeys(NOTHING),
                facts,
                n,
            )
        )
        numbers: dict[str, object] = {"subject_id": adapter_id or model, "target_id": "/".join(target)}
        numbers |= {"metric": "acc_norm", "value": float(right.mean()), "stderr": None, "n_items": n}
        numbers |= {"seconds": 1.0, "tokens": 1000, "device": "none", "engine": "synthetic"}
        numbers |= {"higher_is_better": True, "headline": True, "replicates": None}
        numbers |= {"base_compared": True, "day_fixed": True, "written_at": now}
        scores.append(_table(schema.SCORES, keys | numbers, {}, 1))
    return pa.concat_tables(items), pa.concat_tables(scores)


def _facts(
    rng: np.random.Generator, right: np.ndarray, gold: np.ndarray, pred: np.ndarray, hashes: list[str]
) -> dict[str, object]:
    """The columns of a target's items that differ from item to item."""
    n = len(right)
    ends = np.arange(0, OPTIONS * n + 1, OPTIONS).astype(np.int32)
    return {
        "doc_id": np.arange(n),
        "doc_hash": hashes,
        "gold": gold.astype(np.int32),
        "pred": pred.astype(np.int32),
        "pred_norm": pred.astype(np.int32),
        "correct": right.astype(np.float32),
        "correct_norm": right.astype(np.float32),
        "loglikelihoods": pa.ListArray.from_arrays(ends, rng.normal(-9, 3, OPTIONS * n).astype(np.float32)),
        "option_chars": pa.ListArray.from_arrays(ends, np.full(OPTIONS * n, 12, np.int32)),
    }


def _table(like: pa.Schema, constant: dict[str, object], columns: dict[str, object], n: int) -> pa.Table:
    filled = {name: pa.repeat(pa.scalar(value, like.field(name).type), n) for name, value in constant.items()}
    return pa.table({name: (columns | filled)[name] for name in like.names}, schema=like)


def _bytes(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def make(folder: Path, small: bool) -> None:
    """Write the store."""
    models, seeds = (list(MODELS)[:2], (17,)) if small else (list(MODELS), (17, 42, 101))
    store, rows = Store(str(folder)), []
    for number, (model, source, seed) in enumerate(adapters(models, seeds)):
        items, scores = items_of(model, source, seed)
        store.write(f"{ITEMS}/{number:05d}.parquet", _bytes(items))
        store.write(f"{SCORES}/{number:05d}.parquet", _bytes(scores))
        about = scores.to_pylist()[0] | {"model_size": MODELS[model], "model_family": model.split("-")[0]}
        rows.append({name: about[name] for name in schema.SUBJECTS.names})
    targets = [{"target_id": "/".join(cell), "target_task": cell[0], "target_language": cell[1]} for cell in CELLS]
    store.write_grid(schema.table(schema.SUBJECTS, rows), schema.table(schema.TARGETS, targets))
    store.write("study.yaml", b"config: {study: benchmark}\n")


def ours(folder: Path) -> dict[str, float]:
    """CPU seconds of every step of the report: what runs beside it does not count."""
    from analysis.page import files, headline
    from analysis.page.document import page
    from analysis.page.questions.files import Questions
    from analysis.reading.study import load_store
    from analysis.tables.registry import TABLES, make

    seconds, made = {}, {}
    start = time.process_time()
    study = load_store(str(folder))
    seconds["read the store, transfer table"] = time.process_time() - start
    for table in TABLES:
        start = time.process_time()
        made[table.name] = make(table, study)
        seconds[table.name] = time.process_time() - start
    start = time.process_time()
    out = folder / "report"
    lines = headline.lines(study, made)
    files.write_tables(made, study, out / "tables")
    files.write_figures(study, made, out / "figures")
    questions = Questions.of(study)
    text = page(study, made, lines, links=questions.links)
    (out / "index.html").write_text(text, encoding="utf-8")
    seconds["files, figures and page"] = time.process_time() - start
    seconds["page, MB"] = len(text.encode()) / 1e6
    start = time.process_time()
    questions.write(out)
    seconds["the questions behind its numbers"] = time.process_time() - start
    return seconds


def with_pandas(folder: Path) -> dict[str, float]:
    """Seconds of the tables that are plain group-bys, and of McNemar's counts, in pandas."""
    import pandas as pd
    from scipy.stats import binom

    seconds = {}
    start = time.perf_counter()
    names = [*(field.name for field in schema.KEYS), "doc_id", "correct", "correct_norm"]
    frame = pd.read_parquet(folder / ITEMS, columns=names).drop_duplicates(["score_id", "doc_id"])
    keys = ["model", "target_task", "target_language", "doc_id"]
    is_base = frame["adapter_id"].isna()
    both = frame[~is_base].merge(frame.loc[is_base, [*keys, "correct_norm"]], on=keys, suffixes=("", "_base"))
    both["change"] = both["correct_norm"].astype(float) - both["correct_norm_base"].astype(float)
    cell = ["model", "source_task", "source_language", "target_task", "target_language"]
    delta = 100 * both.groupby([*cell, "seed"])["change"].mean().groupby(cell).mean().rename("delta")
    seconds["read the store, transfer table"] = time.perf_counter() - start
    start = time.perf_counter()
    gains = (both["change"] > 0).groupby([both[c] for c in cell]).sum()
    losses = (both["change"] < 0).groupby([both[c] for c in cell]).sum()
    np.minimum(1, 2 * binom.cdf(np.minimum(gains, losses), gains + losses, 0.5))
    seconds["McNemar only"] = time.perf_counter() - start
    start = time.perf_counter()
    table = delta.reset_index()
    table = table[table["source_task"].eq(table["target_task"]) & table["source_language"].ne(table["target_language"])]
    table.groupby(["model", "source_language"])["delta"].mean().groupby("source_language").agg(["mean", "sem"])
    seconds["language_roles"] = time.perf_counter() - start
    start, draws = time.perf_counter(), 200
    some = both[both["model"].eq(both["model"].iloc[0])].groupby(cell)["change"].apply(np.array).iloc[:50]
    rng = np.random.default_rng(0)
    for values in some:
        [values[rng.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    loops = (time.perf_counter() - start) * (len(delta) / 50) * (10_000 / draws)
    seconds["bootstrap intervals cell by cell (extrapolated from 50 cells, 200 draws)"] = loops
    return seconds


def run(folder: Path) -> None:
    """Both, each in a fresh process, as a Markdown table."""
    for name in ("ours", "pandas"):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "bench.analysis", name, str(folder)], capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - start
        if done.returncode:
            print(f"{name}: failed with exit code {done.returncode}\n{done.stderr[-2000:]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"\n{name}: {wall:.1f} s in all, {found.pop('peak_gb'):.2f} GB at most\n\n| step | seconds |\n|---|---:|")
        for step, value in found.items():
            print(f"| {step} | {value:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("what", choices=("make", "run", "ours", "pandas"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder, options.small)
    elif options.what == "run":
        run(options.folder)
    else:
        found = ours(options.folder) if options.what == "ours" else with_pandas(options.folder)
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(found))


if __name__ == "__main__":
    main()
