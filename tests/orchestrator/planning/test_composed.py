"""Composed adapters: named by what they are made of, and planned with their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.grid import Grid
from orchestrator.planning.plan import plan
from orchestrator.planning.standing import of_plan, of_store
from study.audit.asked import asked
from study.config.file import parse
from study.errors import ConfigError
from study.store.composed import compositions, held_out
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import write_study
from study.units import AdapterUnit
from tests.orchestrator.planning.test_plan import TEXT, grid_of, scored, scores_of

ONE = TEXT.replace("models: [{id: a}, {id: b}]", "models: [{id: a}]") + "sources: [arc/en, arc/de]\n"


def grid(*entries: str) -> Grid:
    return grid_of(parse(ONE + "compose: [" + ", ".join(entries) + "]"))


def ids(entry: str) -> list[str]:
    return [one.adapter_id for one in grid(entry).composed]


SUM = "{name: a, method: sum, terms: [{source: arc/en, weight: 0.5}, {source: arc/de, weight: -1}]}"


def test_name_order_and_grid_are_in_no_identity_and_all_else_is() -> None:
    same = [
        SUM,
        "{name: b, method: sum, terms: [{source: arc/de, weight: -1}, {source: arc/en, weight: 0.5}]}",
        "{name: c, method: sum, terms: [{source: arc/de, weight: -1}, {source: arc/en, weight: 0.25},"
        " {source: arc/en, weight: 0.25}]}",
        "{name: d, method: sum, lambda: 0.5, terms: [{source: arc/de, weight: -1}, {source: arc/en, weight: lambda}]}",
    ]
    assert len({tuple(ids(entry)) for entry in same}) == 1
    tried = ids("{name: e, method: sum, lambda: {grid: [1, 0.5], protocol: target}, terms:"
                " [{source: arc/de, weight: -1}, {source: arc/en, weight: lambda}]}")  # fmt: skip
    assert set(ids(SUM)) < set(tried)
    others = [
        SUM.replace("0.5", "0.6"),
        SUM.replace("sum", "factors"),
        SUM.replace("sum", "svd, rank: 2"),
        SUM.replace("sum", "ties, density: 0.2"),
        SUM.replace("sum", "ties, density: 0.3"),
        SUM.replace("sum", "dare, density: 0.2"),
        SUM.replace("sum", "dare, density: 0.2, draw: 1"),
        SUM.replace("arc/de", "mmlu/de"),
    ]
    found = [ids(SUM)[0], *(ids(entry)[0] for entry in others)]
    assert len(set(found)) == len(found)


def test_what_a_term_adds_and_another_takes_away_is_the_rest() -> None:
    terms = "{source: arc/en, weight: 1}, {source: arc/de, weight: 1}, {source: arc/de, weight: -1}"
    assert ids(f"{{name: a, method: sum, terms: [{terms}]}}") == ids(
        "{name: a, method: sum, terms: [{source: arc/en}]}"
    )
    with pytest.raises(ConfigError, match="all weights come to 0"):
        ids("{name: a, method: sum, terms: [{source: arc/de, weight: 1}, {source: arc/de, weight: -1}]}")


def test_a_weight_of_a_lambda_is_the_decimal_that_is_written() -> None:
    """In binary fractions 1 - 0.9 is not 0.1, nor 3 * 0.1 the 0.3 of another composition."""
    for of_lambda, at, weight in (("1-lambda", 0.9, 0.1), ("3*lambda", 0.1, 0.3), ("-lambda", 0.7, -0.7)):
        made = f"{{name: a, method: sum, lambda: {at}, terms: [{{source: arc/en, weight: {of_lambda}}}]}}"
        assert ids(made) == ids(f"{{name: a, method: sum, terms: [{{source: arc/en, weight: {weight}}}]}}")


def test_adamergex_and_layers_are_sums() -> None:
    merged = "{name: m, method: adamergex, lambda: 0.5, terms: [{source: arc/en, role: task}, {source: mmlu/de, role:"\
        " target}, {source: mmlu/en, role: reference}]}"  # fmt: skip
    sums = "{name: s, method: sum, terms: [{source: arc/en}, {source: mmlu/de, weight: 0.5}, {source: mmlu/en,"\
        " weight: -0.5}]}"  # fmt: skip
    assert ids(merged) == ids(sums)


def test_a_part_that_is_no_source_is_trained_and_scored_on_nothing() -> None:
    whole = grid(SUM.replace("arc/de", "mmlu/de"))
    silent = [unit for unit in whole.adapters if unit.adapter_id in whole.silent]
    assert {str(unit.source) for unit in silent} == {"mmlu/de"}
    assert not {part.subject for part in whole.parts()} & whole.silent
    to_do = plan(whole, {}, ())
    assert set(to_do.train) == set(whole.adapters)
    assert whole.n_scores == len(scores_of(whole)) == (1 + 4 + 2) * 4
    done = [unit for unit in scores_of(whole) if unit.adapter not in whole.composed]
    to_do = plan(whole, {}, scored(done))  # its adapters are gone: only the parts of what is left are trained again
    assert [part.adapter for part in to_do.parts] == list(whole.composed)
    assert {str(unit.source) for unit in to_do.train} == {"arc/en", "mmlu/de"}
    assert plan(whole, {}, scored(scores_of(whole))).is_empty


def test_items_to_choose_a_lambda_on_are_asked_of_the_base_and_of_what_has_several(tmp_path: Path) -> None:
    tried = (
        "{name: e, method: sum, lambda: {grid: [1, 0.5]}, terms: [{source: arc/de}, {source: arc/en, weight: lambda}]}"
    )
    whole = grid(tried, SUM)
    assert len(whole.held_out) == 4
    asked = {}
    for part in whole.parts():
        kind = "base" if part.adapter is None else type(part.adapter).__name__
        asked.setdefault(kind, set()).add(len(part.targets))
    assert asked == {"base": {8}, "AdapterUnit": {4}, "ComposedAdapter": {4, 8}}
    units = scores_of(whole)
    assert whole.n_scores == len(units)
    assert plan(whole, {}, scored(units)).is_empty
    (row,) = of_plan(plan(whole, {}, scored(units[:-1])))
    assert (row.scores.done, row.scores.to_do) == (len(units) - 1, 1)
    store = Store(str(tmp_path))
    store.write_grid(*whole.tables(), **whole.named())
    (stood,), _ = of_store(store)
    assert (stood.scores.to_do, stood.adapters.to_do) == (len(units), len(whole.adapters))
    assert held_out(store) == whole.held_out
    names = compositions(store).to_pylist()
    assert {(one["name"], one["strength"]) for one in names} == {("e", 1.0), ("e", 0.5), ("a", None)}
    assert all(len(one["terms"]) == 2 for one in names)
    assert isinstance(whole.composed[0].parts[0], AdapterUnit)


def test_each_lambda_is_asked_for_what_its_choice_reads_and_a_store_with_more_is_done(tmp_path: Path) -> None:
    """By other languages that is its own language's cells, by source those of its terms, and all by target."""
    terms = "terms: [{source: arc/en}, {source: 'mmlu/{language}', weight: lambda}]"
    for protocol, own in (("other_languages", 2), ("source", 2), ("target", 4)):
        wanted = f"lambda: {{grid: [1, 0.5], protocol: {protocol}}}"
        whole = grid(f"{{name: e, for: {{language: all}}, method: sum, {wanted}, {terms}}}")
        assert [len(part.targets) for part in whole.parts() if part.adapter in whole.composed] == [4 + own] * 8
        store = Store(str(tmp_path / protocol))
        store.write_grid(*whole.tables(), **whole.named())
        (stood,), to_do = of_store(store)
        assert stood.scores.to_do == whole.n_scores == len(scores_of(whole)) == int(to_do.score.sum())
        more = [whole.unit(part, target) for part in whole.parts() for target in range(len(whole.targets))]
        assert plan(whole, {}, scored(more)).is_empty
        assert not plan(whole, {}, scored(more)).stale_scores


def test_a_term_that_comes_to_nothing_asks_for_nothing_in_the_grid_nor_for_who_reads_the_store(tmp_path: Path) -> None:
    terms = "{source: arc/en}, {source: arc/de, weight: lambda}, {source: mmlu/de, weight: lambda}"
    wanted = "lambda: {grid: [1, 0.5], protocol: source}"
    whole = grid(f"{{name: e, method: sum, {wanted}, terms: [{terms}, {{source: mmlu/de, weight: -lambda}}]}}")
    assert len(whole.held_out) == 3  # of the cells that the config names: bases answer them
    tried = {one.adapter_id for one in whole.composed}
    assert [len(part.targets) for part in whole.parts() if part.subject in tried] == [4 + 2] * 4
    store = Store(str(tmp_path))
    write_study(store, StudyFile({}, ()))
    store.write_grid(*whole.tables(), **whole.named())
    (stood,), to_do = of_store(store)
    assert stood.scores.to_do == whole.n_scores == len(scores_of(whole)) == int(to_do.score.sum())
    pairs = asked(store, []).pairs.to_pylist()
    assert len(pairs) == 3 + 2 * len(tried)
