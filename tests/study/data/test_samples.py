"""Samples of a source's examples: nested, and the same whatever else a study asks for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from study.cells import Cell, Source
from study.config import Scoring, TaskConfig
from study.data.rows import Rows
from study.data.tasks import TaskLibrary
from tests.study.data.test_tasks import CELL, docs, library, sorted_docs, write

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True)


def drawn(order: list[int], languages: list[str], size: int, **train: Any) -> set[str]:
    """The ids in a sample of 40 rows, of which a file may have any order."""
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}", train=train)
    rows = [{"id": f"q{i}", "answer": i % 3} for i in order]
    whole = Rows({"quiz": task}, None, languages, lambda *_: rows, lambda _, some: [str(one["answer"]) for one in some])
    chosen = whole.limited(CELL, "train", rows, whole.named(CELL, "train", rows))
    names = whole.names(CELL, rows, chosen)
    return {names[i] for i in whole.in_front(CELL, "train", names, size)}


@settings(max_examples=25)
@given(
    sizes, st.permutations(range(40)), st.integers(1, 40), st.sampled_from([["en"], ["en", "de"], ["en", "de", "fr"]])
)
def test_samples_are_nested_and_the_same_whatever_else_is_asked(
    asked: list[int], order: list[int], limit: int, languages: list[str]
) -> None:
    alone = [drawn(list(range(40)), ["en"], size, sizes=[size]) for size in sorted(asked)]
    assert [len(one) for one in alone] == sorted(asked)
    assert all(less < more for less, more in pairwise(alone))
    assert alone == [drawn(order, languages, size, sizes=asked) for size in sorted(asked)]
    of_fewer = [drawn(order, languages, min(size, limit), sizes=asked, limit=limit) for size in sorted(asked)]
    assert all(less == one or less < one for less, one in zip(of_fewer, alone, strict=True))
    assert all(less == one for less, one in zip(of_fewer, alone, strict=True) if len(one) <= limit)


def test_a_sample_is_what_a_limit_of_its_size_takes_under_another_name(tmp_path: Path) -> None:
    rows = [{**doc, "answer": -1 if i % 4 == 0 else doc["answer"]} for i, doc in enumerate(sorted_docs())]
    write(tmp_path, docs(6), rows)  # labels of a quarter are hidden
    tasks, limited = library(tmp_path, sizes=[6, 15]), library(tmp_path, limit=15)
    whole, less = Source.of([CELL]), Source.of([CELL], 15)
    assert tasks.source_examples(less) == limited.source_examples(whole)
    assert len(tasks.source_examples(Source.of([CELL], 6))) == 6
    assert set(tasks.source_examples(Source.of([CELL], 6))) < set(tasks.source_examples(less))
    prints = [tasks.example_fingerprints(one)[0] for one in (whole, less)]
    assert prints[0] == library(tmp_path).example_fingerprints(whole)[0]  # as it was without samples
    assert prints[1] not in (prints[0], limited.example_fingerprints(whole)[0])  # results know it by another name


def test_languages_sample_the_same_rows(tmp_path: Path) -> None:
    for language, rows in (("en", sorted_docs()), ("de", sorted_docs("de")[::-1])):
        write(tmp_path / language, rows, rows, task=f"quiz_{language}")
    both = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path), train={"sizes": [9]})
    tasks = TaskLibrary([both], Scoring(), ["en", "de"])
    named = [
        [one.prompt.split()[4] for one in tasks.source_examples(Source.of([Cell("quiz", lang)], 9))]
        for lang in ("en", "de")
    ]
    assert named[0] == named[1][::-1]
    assert len(named[0]) == 9
