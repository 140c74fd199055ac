"""A study as the tables see it: the transfer table, the per-seed units, the items, and what was left out.

Invariant: nothing is dropped silently. Every row of the store that does not reach the transfer table is counted in
`excluded` with its reason. Rows of an older config (subjects or targets that `grid.parquet` does not list) are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from analysis.frames import CURATED, SOURCE, TARGET, Table, need
from analysis.reading.compositions import Compositions, compositions_of
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.groups import grouped, hanging
from analysis.reading.own import Own
from analysis.reading.panels import Panel, read_panels, unit_scores
from analysis.reading.published import read_reference
from analysis.reading.recipes import Across, divided
from analysis.reading.scores import TOLD, beside_base, count_drawn, of_sizes, score_rows
from analysis.reading.transfer import COLUMNS, Joint, joint_sources, transfer
from analysis.reading.translations import KIND as TRANSLATED
from analysis.reading.translations import set_apart
from analysis.reading.units import IDENTITIES, current
from study.store.layout import GRID_FILE, STUDY_FILE
from study.store.readable import no_scores, no_study, readable
from study.store.records import AdapterRecord, FailureRecord, StudyFile
from study.store.seen import Seen, read_seen
from study.store.store import Store
from study.store.study_file import entries, read_study

# kinds of units with own tables
BESIDE = {"composed": "compositions", "existing": "existing", "epoch": "epochs", TRANSLATED: "translated_tests"}
OF_SEVERAL = pl.concat_str(SOURCE).str.contains("[+@]")  # sources of several cells, and stages
KEY_COLUMNS = ["score_id", "adapter_id", "model", "model_params", *SOURCE, "source_size", "epoch", "seed", *TARGET]


@dataclass(frozen=True)
class Study:
    """Everything a report reads. `panels` is empty and `units` has no rows when only a published table is known."""

    name: str
    origin: str
    transfer: pl.DataFrame
    units: pl.DataFrame = field(default_factory=pl.DataFrame)
    panels: tuple[Panel, ...] = ()  # of targets with an accuracy
    graded: tuple[Panel, ...] = ()  # of those whose items are graded by another metric
    bare: tuple[Panel, ...] = ()  # of those whose metric no item has by itself
    texts: tuple[Panel, ...] = ()  # of raw text, which is no task
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)  # every metric of every unit (analysis.reading.scores)
    trial_run: bool = False
    failures: tuple[FailureRecord, ...] = ()
    excluded: tuple[tuple[int, str], ...] = ()
    apart: tuple[tuple[int, str], ...] = ()  # score units that are in no transfer table, and the table they are in
    unhealthy: frozenset[tuple[str, str, str]] = frozenset()  # targets of models that were left out of all tables
    expected: int | None = None  # score units that the current config asks for
    done: int = 0  # of those, how many have a score
    records: tuple[AdapterRecord, ...] = ()
    joint: Joint = field(default_factory=dict)  # the cells of sources of several
    compositions: Compositions | None = None  # what was put together of several adapters
    given: Mapping[str, str] = field(default_factory=dict)  # names of adapters that were trained elsewhere
    notes: tuple[str, ...] = ()  # what else a reader must know
    seen: Seen = field(default_factory=Seen)  # what planning saw of its data
    own: Own = field(default_factory=dict)  # distances of languages that a user has given
    config: Mapping[str, object] = field(default_factory=dict)  # of the study; nothing for a published table
    curated: tuple[str, ...] = CURATED  # tasks whose items were not machine-translated
    recipe: str | None = None  # by which its adapters were trained, where there are several
    across: Across | None = None  # all of these, where there are several

    @cached_property
    def grids(self) -> tuple[ModelGrid, ...]:
        """What the items say of every model's cells; nothing where no items are known."""
        return model_grids(self.panels, self.units, joint=self.joint) if self.panels else ()

    @cached_property
    def single_units(self) -> pl.DataFrame:
        """Units of sources of one cell, of no stage; of those kept near the base only where all were."""
        kept = ((record.adapter_id, record.recipe.get("keep_near_base")) for record in self.records)
        near = [adapter_id for adapter_id, strengths in kept if strengths and any(strengths.values())]
        alone = self.units.filter(pl.col("kind") == "trained", ~OF_SEVERAL)
        plain = alone.filter(~pl.col("adapter_id").is_in(near))
        return plain if plain.height else alone

    @cached_property
    def singles(self) -> Study:
        """The study of single sources: of them one asks who gives and takes, whether models agree, what decides Δ."""
        rows = self.transfer.filter(~OF_SEVERAL)
        if self.published:
            return replace(self, transfer=rows)
        names = self.single_units.select("model", *SOURCE).unique()
        rows = rows.join(names, on=["model", *SOURCE], how="semi", maintain_order="left")
        if rows.height == self.transfer.height:
            return self
        bases = self.units.filter(pl.col("kind") == "base")
        return replace(self, transfer=rows, units=pl.concat([bases, self.single_units]))

    @property
    def asked(self) -> tuple[Panel, ...]:
        """Items of every target, however it is scored."""
        return *self.panels, *self.graded, *self.bare

    @property
    def published(self) -> bool:
        """Whether nothing but a published table is known."""
        return not self.units.width


def load(name: str) -> Study:
    """A store, or a published table when the name is that of a CSV file."""
    return load_published(name) if name.endswith((".csv", ".csv.gz")) else load_store(name)


def load_published(path: str) -> Study:
    """A study known only by its published transfer table."""
    return Study(name="published study", origin=path, transfer=read_reference(path))


def load_store(uri: str) -> Study:
    """Read a store; ConfigError when it holds no scores."""
    store = Store(uri)
    store.check_reachable()
    with readable("STORE", uri, fix="name the store of a study, the `store` of its config"):
        return _read(store)


def _score_rows(store: Store) -> pl.DataFrame:
    rows = pl.DataFrame(pl.from_arrow(store.scores([*KEY_COLUMNS, *IDENTITIES, *TOLD, "written_at"])))
    if not rows.height:
        if not store.exists(STUDY_FILE) and not store.exists(GRID_FILE):
            raise no_study("STORE", store.uri)
        raise no_scores("STORE", store.uri)
    return rows


def _read(store: Store) -> Study:
    rows = _score_rows(store)
    notes: list[tuple[int, str]] = []
    asked = current(rows.drop(TOLD), store, notes)
    found, strays = read_panels(store, asked.units, asked.held_out["score_id"])
    info, seen = read_study(store) or StudyFile({}), read_seen(store)
    every = grouped(found, seen.groups)
    panels, graded, texts = _by_kind(every, {str(text["name"]) for text in entries(info.config, "texts")})
    notes.append((strays, "item rows that belong to no finished score unit of the current config"))
    units = set_apart(asked.units, info.config).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("unit"))
    units = units.join(unit_scores(panels), on="unit", how="left", maintain_order="left")
    metrics = score_rows(rows, units, [*panels, *graded, *texts], {panel.task for panel in texts})
    apart = _count_unscored(units, {"graded": graded, "text_loss": texts}, metrics, notes)
    trained, records = units.filter(pl.col("kind") == "trained"), tuple(store.records().values())
    joint = joint_sources(records, set(trained["adapter_id"]))
    whole = Study(
        name=str(info.name or store.uri.rstrip("/").rsplit("/", 1)[-1]),
        origin=store.uri,
        transfer=transfer(trained, joint),
        units=units,
        panels=tuple(panels),
        graded=tuple(graded),
        bare=tuple(panel for panel in every if not panel.valued),
        texts=tuple(texts),
        scores=metrics,
        trial_run=info.is_trial_run,
        config=info.config,
        failures=tuple(failure for _, failure in sorted(store.failures().items())),
        excluded=tuple(note for note in notes if note[0]),
        apart=tuple(note for note in apart if note[0]),
        expected=asked.expected,
        done=units.height,
        records=records,
        joint=joint,
        compositions=compositions_of(store, asked, rows),
        given={adapter.adapter_id: adapter.name for adapter in info.adapters},
        notes=(*_left_out(info), *hanging(every)),
        seen=seen,
    )
    return divided(whole, asked.recipes)


def _by_kind(every: Sequence[Panel], texts: set[str]) -> tuple[list[Panel], list[Panel], list[Panel]]:
    """Panels whose items have values: of accuracies, of other metrics, and of what is raw text."""
    valued = [panel for panel in every if panel.valued]
    tasks = [panel for panel in valued if panel.task not in texts]
    with_accuracy, graded = ([panel for panel in tasks if bool(panel.metric) is other] for other in (False, True))
    return with_accuracy, graded, [panel for panel in valued if panel.task in texts]


def _left_out(info: StudyFile) -> Iterator[str]:
    for adapter in info.adapters:
        if adapter.left_out:
            parts = ", ".join(f"{part} ({count:,})" for part, count in sorted(adapter.left_out.items()))
            yield f"Tensors of the adapter {adapter.name} that {adapter.model} has no part for were left out: {parts}."


def _count_unscored(
    units: pl.DataFrame, tables: Mapping[str, Sequence[Panel]], metrics: pl.DataFrame, notes: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """Note what is in no table and why; returns what is in a table of its own, as panels are by `tables`."""
    trained = units.filter(pl.col("kind") == "trained")
    elsewhere = []
    for table, panels in tables.items():
        theirs = pl.col("unit").is_in([unit for panel in panels for unit in panel.scored.tolist()])
        elsewhere.append((trained.filter(theirs).height, table))
        trained = trained.filter(~theirs)
    based = units.filter(pl.col("kind") == "base").select("model", *TARGET).unique()
    no_base = trained.join(based, on=["model", *TARGET], how="anti").height
    notes.append((no_base, "score units without a base score on the same target: Δ is unknown"))
    trained = trained.join(based, on=["model", *TARGET], how="semi").filter(pl.col("score").is_null())
    drawn = beside_base(metrics.filter(pl.col("headline")), units).join(trained, on="unit", how="semi")
    notes.extend(count_drawn(drawn))
    unscored = trained.join(drawn, on="unit", how="anti").height
    notes.append((unscored, "score units that share no item with the base, or whose metric no item has: see `metrics`"))
    of_samples = units.filter(pl.col("kind") == "sample")
    curves = of_samples.filter(pl.col("score").is_not_null()).height
    in_curves = of_sizes(tables, metrics, units)
    notes.append(
        (
            of_samples.height - curves - sum(n for n, _ in in_curves),
            "score units of samples without a metric of items, or of draws, beside the base's: in no learning curve",
        )
    )
    together = drawn.filter("comparable").height
    beside = [(units.filter(pl.col("kind") == kind).height, table) for kind, table in BESIDE.items()]
    return [(curves, "learning_curve"), *in_curves, *elsewhere, (together, "corpus"), *beside]


def _transfer(study: Study) -> pl.DataFrame:
    need(
        study.transfer.height > 0,
        "no adapter with a source cell has been scored on a target that the base was scored on",
    )
    return study.transfer


TABLES = (
    Table[Study]("transfer", "The transfer table", "every (model, source, target), seeds averaged", COLUMNS, _transfer),
)
