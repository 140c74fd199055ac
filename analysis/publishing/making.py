"""Makes the tree from a store: adapters with their cards, results with theirs. The network is asked for licences alone.

Adapters are those that the study trained; those of samples, compositions and adapters trained elsewhere are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analysis.opened import Opened
from analysis.page import headline
from analysis.publishing import licences
from analysis.publishing.adapter_card import Facts, adapter_card
from analysis.publishing.dataset_card import dataset_card
from analysis.publishing.effects import effects
from analysis.publishing.names import adapter_names, results_name
from analysis.publishing.tree import Tree
from study.errors import ConfigError
from study.plain import plain
from study.store.layout import CONFIG_FILE
from study.store.readable import readable
from study.store.records import AdapterRecord
from study.store.store import Store

TABLES = (
    *("transfer", "regime_summary", "significance", "graded", "corpus", "groups", "harm_breakdown", "health"),
    *("language_roles", "task_roles", "recipes"),
)


@dataclass(frozen=True)
class Wish:
    """What is to be published: adapters of some sources or all, under which licence; whether the Hub may be asked."""

    sources: tuple[str, ...] | None = None
    licence: str | None = None
    ask: bool = False


def make(opened: Opened, to: Path, wish: Wish) -> Tree:
    """Fill a folder and write down what is in it. ConfigError where the store has nothing of that."""
    chosen, store = _chosen(opened, wish), Store(opened.origin)
    tree = Tree.begin(to)
    names = adapter_names(opened.study.name, chosen)
    for record in chosen:
        place = tree.add("model", names[record.adapter_id])
        with readable("STORE", store.uri):
            _copy(store, record, place)
        facts = _facts(opened, record, names[record.adapter_id], wish, _config(place))
        (place / "README.md").write_text(adapter_card(facts), encoding="utf-8")
    _results(opened, tree, wish)
    tree.keep()
    return tree


def _chosen(opened: Opened, wish: Wish) -> list[AdapterRecord]:
    rows = opened.adapters.filter(pl.col("kind") == "trained", pl.col("source_size").is_null())
    known = rows["source"].unique().sort().to_list()
    for name in wish.sources or ():
        if name not in known:
            raise ConfigError("--sources", name, "no adapter was trained on it", f"one of {', '.join(known)}")
    if wish.sources is not None:
        rows = rows.filter(pl.col("source").is_in(wish.sources))
    records = {record.adapter_id: record for record in opened.study.records}
    return [records[adapter_id] for adapter_id in rows["adapter_id"]]


def _copy(store: Store, record: AdapterRecord, place: Path) -> None:
    """The adapter's own files: not its record, nor the epochs that were not kept."""
    for name in record.files:
        if "/" not in name:
            (place / name).write_bytes(store.read(f"{record.folder}/{name}"))


def _config(place: Path) -> Mapping[str, object]:
    file = place / CONFIG_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _facts(opened: Opened, record: AdapterRecord, name: str, wish: Wish, config: Mapping[str, object]) -> Facts:
    recipe = _recipe(opened, record)
    study, made = opened.of_recipe(recipe), opened.tables.of[recipe]
    base, revision = _base(opened, record.model)
    return Facts(
        title=name,
        study=study.name + (f", recipe {recipe}" if recipe else ""),
        record=record,
        effects=effects(study, made, record),
        doubts=headline.distrust(study, made),
        config=config,
        base=base if revision else record.model,
        base_on_hub=revision is not None,
        base_licence=licences.of_model(base, revision, wish.ask),
        data=tuple(_data(opened, record, wish.ask)),
        licence=wish.licence,
    )


def _recipe(opened: Opened, record: AdapterRecord) -> str | None:
    """The first recipe of the config that comes to an adapter, where there are several."""
    across = opened.study.across
    if across is None:
        return None
    return next(name for name, adapters in across.adapters.items() if record.adapter_id in adapters)


def _base(opened: Opened, model: str) -> tuple[str, str | None]:
    """The id of a model in the config, which may be a folder's path, and its revision where it is the Hub's."""
    info = opened.info
    revision = next((one.revision for one in info.models if one.name == model), None)
    for entry in _entries(info.config.get("models")):
        name = entry.get("name") or str(entry.get("id", "")).rstrip("/").rpartition("/")[2]
        if name == model:
            return str(entry["id"]), revision
    return model, revision


def _data(opened: Opened, record: AdapterRecord, ask: bool) -> list[str]:
    """A line for each task learned: its lm-eval task or data set, and the licence as far as it is known."""
    config, lines = opened.info.config, []
    entries = [*_entries(config.get("tasks")), *_entries(config.get("texts"))]
    tasks = dict.fromkeys(cell.partition("/")[0] for cell in record.source)
    for task in tasks:
        entry = next((one for one in entries if one.get("name") == task), {})
        train = entry.get("train")
        path = train.get("dataset_path") if isinstance(train, Mapping) else None
        told = f"lm-eval task {entry['lm_eval']}" if isinstance(entry.get("lm_eval"), str) else "the study's own data"
        licence = licences.of_data(path, ask) if isinstance(path, str) and "/" in path else None
        of = f"data set {path}" if licence else told
        lines.append(f"Data of {task}: {of}, licence {licence or licences.UNKNOWN}.")
    return lines


def _entries(value: object) -> Sequence[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _results(opened: Opened, tree: Tree, wish: Wish) -> None:
    """Every row and the main tables, each a Parquet file and a config of its own."""
    place = tree.add("dataset", results_name(opened.study.name))
    files: dict[str, tuple[str, int]] = {}
    frames: dict[str, Callable[[], pl.DataFrame]] = {
        "scores": lambda: opened.scores,
        "adapters": lambda: opened.adapters,
    }
    for name in TABLES:
        if name in opened.tables and opened.tables.made(name).frame is not None:
            frames[name] = lambda name=name: opened.tables[name]  # type: ignore[misc]
    for name, frame in frames.items():
        frame().write_parquet(place / f"{name}.parquet")
        files[name] = (f"{name}.parquet", frame().height)
    opened.items.sink_parquet(place / "items.parquet")
    files["items"] = ("items.parquet", pl.scan_parquet(place / "items.parquet").select(pl.len()).collect().item())
    said = [plain(line) for line in _lines(opened)]
    columns = {name: opened.columns(name) for name in files}
    card = dataset_card(opened.study.name, said, files, columns, wish.licence)
    (place / "README.md").write_text(card, encoding="utf-8")


def _lines(opened: Opened) -> list[str]:
    lines = []
    for recipe, made in opened.tables.of.items():
        study = opened.of_recipe(recipe)
        found = (headline.distrust(study, made), headline.overall(study, made))
        lines += [f"{recipe}: {line}" if recipe else line for line in found if line]
    return lines
