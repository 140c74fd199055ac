"""The questions behind the numbers: what is chosen, what is counted, and that text from data stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis.page.questions import data, flips
from analysis.page.questions.files import Questions
from analysis.reading.study import load_store
from study import prompts
from study.store.store import Store
from tests.analysis.conftest import HOSTILE


def listed(out: Path) -> dict[str, Any]:
    page = (out / "items.html").read_text(encoding="utf-8")
    found = re.search(r"const TARGETS = (\[.*?\]);\n", page, re.DOTALL)
    assert found
    return {one["target"]: one for one in json.loads(found[1])}


def shown(out: Path, target: str) -> dict[str, Any]:
    text = (out / listed(out)[target]["file"]).read_text(encoding="utf-8")
    assert not re.search("[<\u2028\u2029]", text)
    found: dict[str, Any] = json.loads(text.removeprefix("shown(").removesuffix(");\n"))
    return found


def test_a_cell_has_the_gains_and_losses_that_its_table_counts(asked_store: Store, asked_report: Path) -> None:
    table = pl.read_parquet(asked_report / "tables" / "significance.parquet")
    counts = {
        (row["model"], *(f"{row[f'{end}_task']}/{row[f'{end}_language']}" for end in ("source", "target"))): (
            row["gains"],
            row["losses"],
        )
        for row in table.iter_rows(named=True)
    }
    found = {
        (model["model"], cell["source"], target): (cell["gained"], cell["lost"])
        for target in listed(asked_report)
        for model in shown(asked_report, target)["models"]
        for cell in model["cells"]
    }
    assert found == counts
    for model in shown(asked_report, "names/de")["models"]:
        assert [cell["trained"] for cell in model["cells"]] == [True] * model["sources"]
    assert max(map(max, found.values())) > flips.MOST  # so that the rule of what is kept is tried


def test_what_is_kept_is_what_changed_most(asked_store: Store, asked_report: Path) -> None:
    """Worked out anew from the rows of one cell."""
    rows = pl.DataFrame(pl.from_arrow(asked_store.items())).filter(
        pl.col("model") == "tiny", pl.col("target_task") == "names", pl.col("target_language") == "de"
    )
    model = next(one for one in shown(asked_report, "names/de")["models"] if one["model"] == "tiny")
    base = dict(rows.filter(pl.col("adapter_id").is_null()).select("doc_id", "correct_norm").iter_rows())
    lost = np.zeros(60)
    changes: dict[str, dict[int, float]] = {}
    for (task, language), part in rows.drop_nulls("adapter_id").group_by("source_task", "source_language"):
        means = dict(part.group_by("doc_id").agg(pl.col("correct_norm").mean()).iter_rows())
        changes[f"{task}/{language}"] = {doc: value - base[doc] for doc, value in means.items()}
        lost += np.array([changes[f"{task}/{language}"][doc] < 0 for doc in range(60)])
    docs = [one["id"] for one in shown(asked_report, "names/de")["questions"]]
    assert [model["lost"][at] for at in range(len(docs))] == [lost[doc] for doc in docs]
    for cell in model["cells"]:
        own = changes[cell["source"]]
        wanted = sorted((doc for doc in own if own[doc] < 0), key=lambda doc: (own[doc], -lost[doc], doc))
        kept = [docs[flip["q"]] for flip in cell["flips"] if flip["change"] < 0]
        assert kept == wanted[: flips.MOST]
        assert [flip["change"] for flip in cell["flips"] if flip["change"] < 0] == [own[doc] for doc in kept]


def test_answers_are_those_of_the_rows(asked_store: Store, asked_report: Path) -> None:
    rows = pl.DataFrame(pl.from_arrow(asked_store.items()))
    found = shown(asked_report, "sums/en")
    model = found["models"][0]
    for cell in model["cells"][:2]:
        source = pl.concat_str("source_task", "source_language", separator="/") == cell["source"]
        mine = rows.filter(source, model=model["model"], target_task="sums", target_language="en")
        for flip in cell["flips"]:
            question = found["questions"][flip["q"]]
            for seed, own in zip(cell["seeds"], flip["seeds"], strict=True):
                row = mine.row(by_predicate=(pl.col("seed") == seed) & (pl.col("doc_id") == question["id"]), named=True)
                weights = np.exp(row["loglikelihoods"])
                assert own["p"] == pytest.approx(1000 * weights / weights.sum(), abs=0.51)
                assert own["choice"] == row["pred_norm"]
            assert question["gold"] == row["gold"]


def test_prompts_are_shown_where_they_were_kept_of_the_same_document(asked_report: Path) -> None:
    plain, chat, bare = (shown(asked_report, target) for target in ("names/de", "names/en", "sums/de"))
    by_id = {one["id"]: one for one in plain["questions"]}
    assert by_id[0]["prompt"] == f"{HOSTILE} 0 in de"
    assert by_id[1]["prompt"] is None
    assert plain["questions"][-1]["options"] == [f" option {option} " for option in range(4)]
    own = next(one for one in chat["models"] if one["model"] == "small")
    assert {one["model"]: "prompts" in one for one in chat["models"]} == {"small": True, "tiny": False}
    assert {one["prompt"] for one in chat["questions"]} == {None}
    assert own["prompts"][-1] == f"<turn>Which? {chat['questions'][-1]['id']} in en"
    asked = dict(zip((one["id"] for one in chat["questions"]), own["prompts"], strict=True))
    assert asked[1] is None
    assert None not in [prompt for doc, prompt in asked.items() if doc != 1]
    assert (bare["kept"], {one["prompt"] for one in bare["questions"]}) == (False, {None})


def test_each_model_is_shown_as_it_was_asked(asked_report: Path) -> None:
    """One in a chat, which is the first, beside one that is not."""
    found = shown(asked_report, "sums/en")
    small, tiny = found["models"]
    docs = [one["id"] for one in found["questions"]]
    said = [None if doc == 1 else f"{HOSTILE if doc == 0 else 'Which?'} {doc} in en" for doc in docs]
    assert [one["prompt"] for one in found["questions"]] == said
    assert small["prompts"] == [None if one is None else f"<turn>{one}" for one in said]
    assert "prompts" not in tiny


def test_every_number_of_a_cell_leads_to_its_questions(asked_report: Path) -> None:
    page = (asked_report / "index.html").read_text(encoding="utf-8")
    links = set(re.findall(r'<a href="(items\.html#[^"]+)"', page))
    assert "items.html#target=names/de&amp;source=sums/en" in links
    assert 'data-opens="items.html"' in page


def test_of_older_files_a_report_removes_its_own(asked_report: Path) -> None:
    assert not (asked_report / "items" / "999-gone.js").exists()
    assert (asked_report / "items" / "mine.js").exists()
    assert (asked_report / "items-mine.html").exists()


def test_a_target_has_a_bounded_number_of_questions(asked_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that most cells have kept; the others' flips are counted and not shown."""
    monkeypatch.setattr(data, "MOST", 5)
    for one in Questions.of(load_store(asked_store.uri)).targets:
        assert len(one.docs) == 5
        wanted = one.wanted()
        assert set(wanted["doc_id"]) == set(one.docs)
        assert wanted.is_unique().all()


def test_a_damaged_file_of_prompts_costs_no_more_than_the_prompts(asked_store: Store, tmp_path: Path) -> None:
    (file,) = prompts.kept(asked_store)["names/de", None]
    whole = asked_store.read(file)
    asked_store.write(file, whole[:-9])
    try:
        Questions.of(load_store(asked_store.uri)).write(tmp_path)
    finally:
        asked_store.write(file, whole)
    assert not shown(tmp_path, "names/de")["kept"]
