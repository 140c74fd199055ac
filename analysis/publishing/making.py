"""Makes the tree from a store: adapters with their cards, results with theirs. The network is asked for licences alone.

Adapters are those that the study trained; those of samples, compositions and adapters trained elsewhere are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from analysis.opened import Opened
from analysis.page import headline
from analysis.publishing import licences, origins
from analysis.publishing.adapter_card import Facts, adapter_card
from analysis.publishing.dataset_card import Results, Told, dataset_card
from analysis.publishing.effects import effects, means
from analysis.publishing.names import adapter_names, results_name
from analysis.publishing.origins import UNKNOWN
from analysis.publishing.tree import Tree, writing
from analysis.reading.study import Study
from analysis.reading.transfer import cells_learned
from study.errors import ConfigError
from study.options import closest_first
from study.plain import plain
from study.store.layout import CONFIG_FILE
from study.store.readable import readable
from study.store.records import AdapterRecord
from study.store.store import Store

TABLES = (
    *("transfer", "regime_summary", "significance", "graded", "corpus", "groups", "harm_breakdown", "health"),
    *("language_roles", "task_roles", "recipes"),
)
ON_THE_PAGE = "Click a heading to sort."
NAMED = {"adapter_id": pl.String, "repository": pl.String}
REPOSITORY = pl.DataFrame(
    {
        "column": ["repository"],
        "type": ["String"],
        "meaning": ["name of its repository, after the owner; null where it was not published with these results"],
    }
)


@dataclass(frozen=True)
class Wish:
    """What is to be published: adapters of some sources or all, under which licence; for whom on the Hub.

    Where it is for nobody, the Hub is not asked.
    """

    sources: tuple[str, ...] | None = None
    licence: str | None = None
    owner: str | None = None

    def path(self, name: str) -> str | None:
        """What a repository is called on the Hub, where it goes there."""
        return f"{self.owner}/{name}" if self.owner else None


def make(opened: Opened, to: Path, wish: Wish) -> Tree:
    """Fill a folder and write down what is in it. ConfigError where the store has nothing of that."""
    licences.check(wish.licence)
    chosen, store = _chosen(opened, wish), Store(opened.origin)
    tree = Tree.begin(to)
    names = adapter_names(opened.study.name, chosen)
    for record in chosen:
        place = tree.add("model", names[record.adapter_id])
        _copy(store, record, place, to)
        facts = _facts(opened, record, names[record.adapter_id], wish, _config(place))
        card = adapter_card(facts)
        with writing(to):
            (place / "README.md").write_text(card, encoding="utf-8")
    _results(opened, tree, wish, names)
    tree.keep()
    return tree


def _chosen(opened: Opened, wish: Wish) -> list[AdapterRecord]:
    rows = opened.adapters.filter(pl.col("kind") == "trained", pl.col("source_size").is_null())
    known = rows["source"].unique().sort().to_list()
    for name in wish.sources or ():
        if name not in known:
            raise ConfigError("--sources", name, "no adapter was trained on it", f"one of {closest_first(name, known)}")
    if wish.sources is not None:
        rows = rows.filter(pl.col("source").is_in(wish.sources))
    records = {record.adapter_id: record for record in opened.study.records}
    return [records[adapter_id] for adapter_id in rows["adapter_id"]]


def _copy(store: Store, record: AdapterRecord, place: Path, to: Path) -> None:
    """The adapter's own files: not its record, nor the epochs that were not kept."""
    for name in record.files:
        if "/" not in name:
            with readable("STORE", store.uri):
                data = store.read(f"{record.folder}/{name}")
            with writing(to):
                (place / name).write_bytes(data)


def _config(place: Path) -> Mapping[str, object]:
    file = place / CONFIG_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _facts(opened: Opened, record: AdapterRecord, name: str, wish: Wish, config: Mapping[str, object]) -> Facts:
    recipe = _recipe(opened, record)
    study, made = opened.of_recipe(recipe), opened.tables.of[recipe]
    ask, learned = wish.owner is not None, dict[str, list[str]]()
    for cell in cells_learned(record):
        learned.setdefault(cell.task, []).append(cell.language)
    return Facts(
        title=name,
        study=study.name + (f", recipe {recipe}" if recipe else ""),
        record=record,
        effects=effects(study, made, record),
        means=means(study, record),
        doubts=headline.distrust(study, made),
        config=config,
        base=origins.base_of(opened.info, record.model, ask),
        data=(*origins.data_of(opened.info, learned, ask), *_changed(record), *_begun_elsewhere(opened.study, record)),
        path=wish.path(name),
        licence=wish.licence,
    )


def _changed(record: AdapterRecord) -> Iterator[str]:
    """Say how the data of its source are others than those of its cells."""
    if record.stage is not None and record.stage.change is not None:
        yield f"These data were changed: {record.stage.change}. The licence of a file named here is {UNKNOWN}."


def _begun_elsewhere(study: Study, record: AdapterRecord) -> Iterator[str]:
    """Say of which adapter of others its first stage begins with."""
    records = {one.adapter_id: one for one in study.records}
    while record.stage is not None and record.stage.start_id in records:
        record = records[record.stage.start_id]
    if record.stage is not None and record.stage.start_id is not None:
        name = study.given.get(record.stage.start_id, record.stage.start)
        yield f"It begins with the adapter {name}, which was not trained here: its data and licence are {UNKNOWN}."


def _recipe(opened: Opened, record: AdapterRecord) -> str | None:
    """The first recipe of the config that comes to an adapter, where there are several."""
    across = opened.study.across
    if across is None:
        return None
    return next(name for name, adapters in across.adapters.items() if record.adapter_id in adapters)


def _results(opened: Opened, tree: Tree, wish: Wish, names: Mapping[str, str]) -> None:
    """Every row and the main tables, each a Parquet file and a config of its own."""
    name, told = results_name(opened.study.name), {}
    place = tree.add("dataset", name)
    for table, frame in _frames(opened, names).items():
        made, file = frame(), place / f"{table}.parquet"
        with writing(tree.root):
            _write(made, file)
        rows = pl.scan_parquet(file).select(pl.len()).collect().item()
        told[table] = Told(rows, opened.columns(table), _about(opened, table))
    told["adapters"] = replace(told["adapters"], columns=pl.concat([told["adapters"].columns, REPOSITORY]))
    info = opened.info
    results = Results(
        study=opened.study.name,
        lines=tuple(plain(line) for line in _lines(opened)),
        tables=told,
        data=tuple(origins.data_of(info, dict.fromkeys(origins.tasks_of(info), ()), wish.owner is not None)),
        path=wish.path(name),
        licence=wish.licence,
    )
    card = dataset_card(results)
    with writing(tree.root):
        (place / "README.md").write_text(card, encoding="utf-8")


def _write(rows: pl.DataFrame | pl.LazyFrame, file: Path) -> None:
    if isinstance(rows, pl.DataFrame):
        rows.write_parquet(file)
        return
    try:
        rows.sink_parquet(file)
    except pl.exceptions.ComputeError as error:
        if "IO error" not in str(error):
            raise
        raise OSError(str(error)) from error  # a full disk is no OSError to it here


def _frames(opened: Opened, names: Mapping[str, str]) -> dict[str, Callable[[], pl.DataFrame | pl.LazyFrame]]:
    """What is published by name; adapters with the repository that each of them is in."""
    found = pl.DataFrame({"adapter_id": list(names), "repository": list(names.values())}, schema=NAMED)
    frames: dict[str, Callable[[], pl.DataFrame | pl.LazyFrame]] = {
        "scores": lambda: opened.scores,
        "adapters": lambda: opened.adapters.join(found, on="adapter_id", how="left", maintain_order="left"),
    }
    for name in TABLES:
        if name in opened.tables.about and opened.tables.made(name).frame is not None:
            frames[name] = lambda name=name: opened.tables[name]  # type: ignore[misc]
    return frames | {"items": lambda: opened.items}


def _about(opened: Opened, name: str) -> str:
    """Which rows a table is made from, and how to read it."""
    if name not in opened.tables.about:
        return ""
    table = opened.tables.about[name]
    how = table.how.replace(ON_THE_PAGE, "").strip()
    return f"{table.title}: of {table.rows}. {how}".strip()


def _lines(opened: Opened) -> list[str]:
    lines = []
    for recipe, made in opened.tables.of.items():
        study = opened.of_recipe(recipe)
        found = (headline.distrust(study, made), headline.overall(study, made))
        lines += [f"{recipe}: {line}" if recipe else line for line in found if line]
    return lines
