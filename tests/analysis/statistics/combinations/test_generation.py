"""What answers are like: read from the texts of the items, beside the metrics that the config asked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.reading.study import load_store
from analysis.statistics.combinations.generation import COLUMNS, generation
from analysis.statistics.combinations.wrong_language import wrong_language
from study.languages import Languages
from study.store.layout import SEEN_FILE
from study.store.schema import COMPOSITIONS, SUBJECTS, TARGETS, table
from study.store.seen import Seen, SeenTarget, renew
from study.store.store import Store
from tests.support.synth import Shape, unit_rows

SHAPE = Shape(tasks=("sum",), languages=("de", "ru"), items=10)
MODEL, EN = SHAPE.models[0], ("sum", "de")
SUBJECTS_OF = (("base", None, None), ("source", EN, None), ("mix", None, "mix"))
ROLES = ("base", "composition", "ceiling")
KNOWN = {"ru": ["ответ на вопрос"], "en": ["an answer to a question"]}
WRITTEN = {"base": "an answer", "source": "ответ", "mix": ""}
OTHER = {"source": "答案"}  # for one item: of no language that is known


def written(folder: Path, compositions: bool = True) -> Store:
    """A store of answers in German and Russian; `mix` writes none."""
    store, subjects = Store(str(folder)), []
    for name, source, adapter in SUBJECTS_OF if compositions else SUBJECTS_OF[:2]:
        seed = None if name == "base" else 1
        items, scores = [], []
        for language in SHAPE.languages:
            rows, (found, *_) = unit_rows(SHAPE, MODEL, source, seed, ("sum", language), adapter)
            for row in rows:
                text = {0: "  ", 1: OTHER.get(name)}.get(row["doc_id"]) or WRITTEN[name]
                row |= {"correct": None, "correct_norm": None, "graded": 0.3, "graded_metric": "rougeL", "pred": -1}
                row |= {"pred_norm": -1, "gold": -1, "loglikelihoods": [], "option_chars": [], "generation": text}
                row["cut_off"] = None if name == "base" else row["doc_id"] < 3
            shares = {"rougeL": 0.3, "script": 0.25 if name == "base" else 1.0}
            items += rows
            scores += [found | {"metric": m, "value": v, "headline": m == "rougeL"} for m, v in shares.items()]
        store.append(items, scores)
        about = scores[0] | {"model_size": 1.0, "model_family": "tiny"}
        subjects.append({field: about[field] for field in SUBJECTS.names})
    targets = [{"target_id": f"sum/{one}", "target_task": "sum", "target_language": one} for one in SHAPE.languages]
    named = {
        "adapter_id": "mix", "name": "mix", "model": MODEL[0], "seed": 1, "method": "sum (searched)", "strength": 0.5,
        "protocol": None, "language": None, "recipe": None, "family": None,
        "terms": [{"subject_id": "x", "source": "sum/de", "weight": 1.0}],
    }  # fmt: skip
    made = table(COMPOSITIONS, [named] if compositions else [])
    store.write_grid(table(SUBJECTS, subjects), table(TARGETS, targets), compositions=made)
    return store


def test_what_answers_are_like_beside_a_first_sentence_and_what_learned_the_cell(tmp_path: Path) -> None:
    store = written(tmp_path)
    target = SeenTarget("x", 0.9, {"rouge1": 0.2, "rougeL": 0.1}, 1.0, 12.5)
    renew(store, lambda _: Seen(Languages.of(KNOWN).counts, {"sum/ru": target}, {MODEL[0]: {"sum/ru": 4}}))
    found = generation(load_store(store.uri))
    assert found.columns == list(COLUMNS)
    assert found["subject"].to_list() == [
        "base",
        "mix (0.5)",
        "sum/de",
        "base",
        "first sentence",
        "mix (0.5)",
        "sum/de",
    ]
    assert found["role"].to_list() == [*ROLES, "base", "lead", "composition", "source"]
    rows = {row["subject"]: row for row in found.filter(pl.col("target_language") == "ru").iter_rows(named=True)}
    assert [rows[one]["empty"] for one in ("base", "sum/de", "mix (0.5)")] == pytest.approx([10.0, 10.0, 100.0])
    assert rows["base"]["length"] == pytest.approx(0.9 * len("an answer"))
    assert (rows["base"]["script"], rows["sum/de"]["script"], rows["base"]["rougeL"]) == pytest.approx((25, 100, 30))
    assert (rows["base"]["cut_off"], rows["sum/de"]["cut_off"]) == (None, 30.0)
    assert rows["base"]["rouge1"] is None
    assert [rows[one]["claim"] for one in ("base", "sum/de", "mix (0.5)")] == [None, None, "few-shot"]
    assert [rows[one]["language_share"] for one in ("base", "sum/de", "mix (0.5)")] == [0.0, 80.0, 0.0]
    lead = rows["first sentence"]
    assert [lead[name] for name in ("rouge1", "rougeL", "language_share", "length")] == [20.0, 10.0, 100.0, 12.5]
    assert lead["rouge2"] is lead["n_seeds"] is lead["empty"] is None
    assert {(row["language_known"], row["cut_prompts"]) for row in rows.values()} == {(90.0, 4)}
    german = found.filter(pl.col("target_language") == "de")
    assert german["language_known"].null_count() == german["cut_prompts"].null_count() == german.height
    assert german["language_share"].null_count() == german.height  # the study has no German texts


def test_answers_in_another_language_are_a_harm_of_their_own(tmp_path: Path) -> None:
    """The base answers in English where Russian is asked for, what learned the task in Russian; or the other way."""
    for texts, change in ((WRITTEN, 80.0), (WRITTEN | {"base": "ответ", "source": "an answer"}, -90.0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{__name__}.WRITTEN", texts)
            store = written(tmp_path / str(change), compositions=False)
        renew(store, lambda _: Seen(Languages.of(KNOWN).counts, {}, {}))
        (row,) = wrong_language(load_store(store.uri)).to_dicts()
        assert (row["target_language"], row["delta"], row["n_items"]) == ("ru", pytest.approx(change), 10)
        assert (row["better"], row["worse"], row["harmed"]) == (change > 0, change < 0, change < 0)
    store = written(tmp_path / "unknown", compositions=False)
    with pytest.raises(NotComputable, match="in a language whose texts the study has"):
        wrong_language(load_store(store.uri))


def test_without_compositions_or_what_planning_saw_it_says_what_it_can(tmp_path: Path) -> None:
    store = written(tmp_path, compositions=False)
    found = generation(load_store(store.uri))
    assert found["role"].to_list() == ["base", "ceiling", "base", "source"]
    nothing = ("language_share", "language_known", "cut_prompts")
    assert found.select(nothing).null_count().row(0) == (4, 4, 4)
    store.write(SEEN_FILE, b"{")
    damaged = load_store(store.uri)
    assert generation(damaged).equals(found)
    assert damaged.seen.notes[0].startswith("what planning saw of the data is not known (seen.json: ")
