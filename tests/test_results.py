"""What pages quote of runs is what `docs/results` has of them: each row of a table, and each number of the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import polars as pl
import pytest

from analysis.statistics.combinations.rivals import AS_MUCH
from study.config.expansion import combinations
from study.config.file import load

DOCS = Path(__file__).resolve().parents[1] / "docs"
NUMBER = re.compile(r"−?\d+(?:\.\d+)?")
QUOTED = re.compile(r"(?<![\w.:/])−?\d+\.\d+(?![\w.])")  # in a text


def read(table: str, run: str = "compositions") -> pl.DataFrame:
    return pl.read_csv(DOCS / "results" / run / f"{table}.csv")


def section(page: str, title: str) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a text, without their heads."""
    for line in text.splitlines():
        cells = [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1] not in ("on", "beside", "pairs"):
            yield cells


def numbers(cell: str) -> list[float]:
    return [float(one.replace("−", "-")) for one in NUMBER.findall(cell)]


def assert_shown(said: float, value: float, what: object) -> None:
    assert said == pytest.approx(value, abs=0.051), (what, said, value)


MEASURED = section("compositions.md", "What the offline example measured")


def one(frame: pl.DataFrame, **where: object) -> dict[str, float]:
    (row,) = frame.filter(*(pl.col(name) == value for name, value in where.items())).iter_rows(named=True)
    return row


def test_every_row_of_the_offline_example_is_that_of_its_run() -> None:
    made, single = read("compositions"), read("graded").filter(metric="rougeL")
    told = list(rows(MEASURED))
    assert len(told) == 17
    for first, on, delta, ends, ceilings in told:
        names = re.findall(r"`([^`]+)`", first)
        targets = on.split(", ")
        low_high = iter(numbers(ends))
        for name, target, value, ceiling in zip_longest(
            names * (1 if len(names) > 1 else len(targets)) or [None] * len(targets),
            targets, numbers(delta), numbers(ceilings),
        ):  # fmt: skip
            of = {"target_task": "digest", "target_language": target}
            if name is None:
                row = one(single, source_task="digest", source_language="en", **of)
            else:
                row = one(made, metric="rougeL", name=name, **of)
                assert_shown(next(low_high), row["low"], (name, target))
                assert_shown(next(low_high), row["high"], (name, target))
                if (said := re.search(r"truncation ([\d.]+)", first)) is not None:
                    assert float(said[1]) == pytest.approx(row["truncation"], abs=0.0051)
                if (said := re.search(r"λ ([\d.]+)", first)) is not None:
                    assert float(said[1]) == row["lambda"]
            assert_shown(value, row["delta"], (first, target))
            assert_shown(ceiling, one(single, source_task="digest", source_language=target, **of)["delta"], target)


def test_the_results_are_of_the_preset_as_it_is() -> None:
    stated = combinations(load(DOCS.parent / "examples" / "compositions" / "study.yaml"))
    curves = {str(name): set(of["lambda"]) for (name,), of in read("lambda_curve").group_by("name")}
    assert set(read("compositions")["name"]) == {one.name for one in stated}
    assert curves == {one.name: set(one.keys.strengths) for one in stated if len(one.keys.strengths) > 1}


def composed(name: str, language: str, column: str = "delta") -> float:
    return one(read("compositions"), metric="rougeL", name=name, target_language=language)[column]


def learned(task: str, languages: str, target: str) -> float:
    rows = read("graded").filter(metric="rougeL")
    return one(rows, source_task=task, source_language=languages, target_language=target)["delta"]


def at(name: str, strength: float, language: str) -> float:
    return one(
        read("lambda_curve").filter(metric="rougeL"), name=name, target_language=language, **{"lambda": strength}
    )["test"]


N = r"(−?[\d.]+)"


def claims() -> Iterator[tuple[str, list[float]]]:
    """Each sentence of the text with numbers of the run, and what they are."""
    gains = [composed(f"add_subtract[{language}]", language, "gain_part") for language in ("de", "es", "fr")]
    yield rf"by {N} to {N} points more than the best of its parts", [min(gains), max(gains)]
    yield rf"choose 2, where test items would choose 1.5: {N} in place of {N}\.", [
        at("add_subtract[de]", 1.5, "de"), at("add_subtract[de]", 2, "de"),
    ]  # fmt: skip
    yield rf"choose 1.5 and 2 would be {N}, in French 1.5 and 2.5 would be {N}\.", [
        at("add_subtract[es]", 2, "es"), at("add_subtract[fr]", 2.5, "fr"),
    ]  # fmt: skip
    yield rf"has {N}, {N} and {N} at\s+1, 1.5 and 2", [at("add_subtract[de]", one, "en") for one in (1, 1.5, 2)]
    yield rf"keeps {N} of English's {N}\.", [composed("swap[de]", "en"), learned("digest", "en", "en")]
    yield rf"scores {N} in English where the sum of ΔW with the same weights scores {N}, and\s+PEFT's `linear` {N}\.", [
        composed("factors[de]", "en"), at("add[de]", 0.5, "en"), composed("factors_peft[de]", "en"),
    ]  # fmt: skip
    yield rf"gains {N} in German, `factors_subtract\[de\]`, which adds what it should take away, {N}, as", [
        at("add_subtract[de]", 1, "de"), composed("factors_subtract[de]", "de"),
    ]  # fmt: skip
    yield rf"`factors_b\[de\]`, whose sign is right, {N}\.", [composed("factors_b[de]", "de")]
    yield rf"en \+ fr gains {N} and {N}, on twice", [learned("digest", "en+fr", one) for one in ("en", "fr")]
    yield rf"`prose/de` gains {N} in English and\s+{N} in German", [
        learned("digest+prose", "en+de", one) for one in ("en", "de")
    ]  # fmt: skip


BESIDE = section("compositions.md", "Beside whom, and whether it adds up")


def test_every_row_beside_the_best_is_that_of_its_run() -> None:
    made, told = read("compositions"), [row for row in rows(BESIDE) if len(row) == 4]
    assert len(told) == 8
    for name, on, *gains in told:
        row = one(made, metric="rougeL", name=name.strip("`"), target_task="digest", target_language=on)
        for cell, kind in zip(gains, ("gain_part", "gain_donor"), strict=True):
            for said, end in zip(numbers(cell), ("", "_low", "_high"), strict=True):
                assert_shown(said, row[kind + end], (name, on, kind))


def test_every_row_of_what_adds_up_is_that_of_its_run_and_so_are_its_cosines() -> None:
    table = read("additivity").filter(metric="rougeL", regime="all")
    told = [row for row in rows(BESIDE) if len(row) == 5]
    assert len(told) == 4
    for method, pairs, *cells in told:
        row = one(table, method=method.strip("`"))
        assert int(pairs) == row["n"]
        for cell, kind in zip(cells, ("pearson_clean", "slope", "rmse_clean"), strict=True):
            for said, end in zip(numbers(cell), ("", "_low", "_high"), strict=True):
                within = 0.051 if kind == "rmse_clean" else 0.0051
                assert said == pytest.approx(row[kind + end], abs=within), (method, kind)
    known = read("geometry").filter(metric="rougeL").unique(["part", "other"])
    parts = [("digest/en", "prose/de"), ("digest/en", "prose/en"), ("digest/en", "digest/fr")]
    shown = [float(one) for one in QUOTED.findall(BESIDE.rpartition("answers in it.")[2])]
    found = [one(known, part=part, other=other)[what] for what in ("cosine", "sign_conflicts") for part, other in parts]
    assert shown == pytest.approx(found, abs=0.0051)


JOINT = "digest/en+digest/fr"
MEAN = "single sources of its cells"
ALL = ("mixed", "longer", "sequential", "reptile", "kl", "l2", "shared")


def scheduled(recipe: str, column: str, source: str = JOINT, beside: str = "the same source by mixed") -> float:
    metric = "accuracy" if column.startswith("off") else "rougeL"
    return one(read("schedules", "schedules"), recipe=recipe, source=source, beside=beside, metric=metric)[column]


def half(recipe: str, name: str) -> list[float]:
    """Δ and its interval."""
    rows = read("compositions", "start").filter(metric="rougeL")
    row = one(rows, recipe=recipe, name=name, target_language="en")
    return [row[column] for column in ("delta", "low", "high")]


def claims_about_schedules() -> Iterator[tuple[str, list[float]]]:
    single = [scheduled("mixed", column, beside=AS_MUCH) for column in ("own", "own_beside")]
    yield rf"has {N} points on its own cells, where single adapters that read as much\s+have {N}:", single
    more = [scheduled("longer", f"own_{end}") for end in ("more", "low", "high")]
    yield rf"add {N} \({N} to {N}\)\.", more
    yield rf"`sequential` has {N} less than `mixed`", [-scheduled("sequential", "own_more")]
    yield rf"`reptile` has {N} less on its own cells", [-scheduled("reptile", "own_more")]
    yield rf"loses {N} \(`kl`\) and gains {N} \(`l2`\) beside two cells, in place of losing {N};", [
        -scheduled("kl", "off_task"), scheduled("l2", "off_task"), -scheduled("kl", "off_task_beside"),
    ]  # fmt: skip
    yield rf"costs on own cells, {N} and {N},", [-scheduled(recipe, "own_more") for recipe in ("kl", "l2")]
    of = [(recipe, f"digest/{language}") for recipe in ("kl", "l2") for language in ("en", "fr")]
    lost = [-scheduled("kl", "off_task_beside", source) for _, source in of[:2]]
    saved = [scheduled(recipe, "off_task_more", source) for recipe, source in of]
    told = rf"lose {N} \(English\) and {N} \(French\), of which `kl` saves {N} and {N},"
    yield told + rf" and `l2` {N}, which is within chance, and {N}\.", lost + saved
    own = [scheduled(recipe, "own_more", source) for recipe, source in of]
    yield rf"English\s+pays {N} and {N} on its own cell; French pays nothing, and by `kl` gains {N}\.", [
        -own[0], -own[2], own[1],
    ]  # fmt: skip
    beside_mean = [scheduled(recipe, "own_more", beside=MEAN) for recipe in ALL]
    yield rf"better on its own cells \({N} to {N} points", [min(beside_mean), max(beside_mean)]
    yield rf"what it has more, {N} and {N},", [scheduled("shared", f"{side}_more") for side in ("own", "off_task")]
    yield rf"scores {N} in English \({N} to {N}\) by `factors` where", half("mixed", "factors[de]")
    yield rf"itself and {N} \({N} to {N}\) where both began alike", half("shared", "factors[de]")
    both = half("mixed", "half[de]") + half("shared", "half[de]")
    yield rf"the sum of ΔW {N} \({N} to {N}\) and {N} \({N} to {N}\): it", both


def is_more(recipe: str, side: str, source: str = JOINT, beside: str = "the same source by mixed") -> bool | None:
    """Whether it is more beyond chance, or less; None where neither can be told."""
    low, high = (scheduled(recipe, f"{side}_{end}", source, beside) for end in ("low", "high"))
    return None if low <= 0 <= high else low > 0


def test_what_is_told_of_schedules_as_chance_and_as_more_is_so() -> None:
    recipes = ("sequential", "reptile", "kl", "l2", "shared")
    assert [is_more(recipe, "off_task") for recipe in recipes] == [None, None, None, True, None]
    assert [is_more(recipe, "own") for recipe in recipes] == [False, False, None, None, None]
    assert [is_more(recipe, "own", f"digest/{one}") for recipe in ("kl", "l2") for one in ("en", "fr")] == [
        False, True, False, None,
    ]  # fmt: skip
    for side in ("own", "off_task"):
        assert True not in [is_more(recipe, side, beside=AS_MUCH) for recipe in ("mixed", *recipes)], side
    assert all(is_more(recipe, "own", beside=MEAN) for recipe in ALL)
    saves = [recipe for recipe in ALL if is_more(recipe, "off_task", beside=MEAN)]
    assert saves == ["longer", "reptile", "shared"]


def test_no_schedule_is_far_from_another_in_other_languages() -> None:
    rows = read("schedules", "schedules").filter(metric="rougeL").drop_nulls("on_task_more")
    assert rows["on_task_more"].abs().max() < 0.6  # type: ignore[operator]
    assert rows.filter((pl.col("on_task_low") > 0) | (pl.col("on_task_high") < 0)).is_empty()


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (MEASURED.partition("\n- ")[2], claims),  # what stands before is about the table
        (
            section("mixing.md", "When several sources?").partition("\n- **In one heap")[2].partition("\nSo: ")[0]
            + section("mixing.md", "A shared start"),
            claims_about_schedules,
        ),
    ],
)
def test_every_number_of_the_text_about_it_is_that_of_its_run(
    text: str, claimed: Callable[[], Iterator[tuple[str, list[float]]]]
) -> None:
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    text = re.sub(r"more than 0\.6 points from another", "", text)  # the test before this
    for pattern, values in claimed():
        (found,) = re.findall(pattern, text)
        for said, value in zip([found] if isinstance(found, str) else found, values, strict=True):
            assert_shown(float(said.replace("−", "-")), value, pattern)
        text = re.sub(pattern, "", text)
    assert QUOTED.findall(text) == []


def test_every_row_about_schedules_is_that_of_its_run() -> None:
    """Digests by ROUGE-L on the source's own cells, territory by accuracy; tokens of both sides."""
    table, named = read("schedules", "schedules"), {"mixed": "the same source by mixed", "single": AS_MUCH}
    told = list(rows(section("mixing.md", "When several sources?")))
    assert len(told) == 16
    for first, beside, tokens, its_tokens, own, own_more, off, off_more in told:
        recipe, source = first.replace("`", "").split(", ")
        of = {"recipe": recipe, "source": source, "beside": named[beside.replace("`", "")]}
        by = {metric: one(table, metric=metric, **of) for metric in ("rougeL", "accuracy")}
        assert [int(cell.replace(",", "")) for cell in (tokens, its_tokens)] == [
            by["rougeL"]["tokens"], by["rougeL"]["beside_tokens"],
        ]  # fmt: skip
        for side, row, cells in (
            ("own", by["rougeL"], f"{own} {own_more}"),
            ("off_task", by["accuracy"], f"{off} {off_more}"),
        ):
            for said, end in zip(numbers(cells), ("", "_more", "_low", "_high"), strict=True):
                assert_shown(said, row[side + end], (first, beside, side + end))


def test_the_config_that_a_page_begins_with_can_be_run(tmp_path: Path) -> None:
    text = (DOCS / "compositions.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("extends: ", f"extends: {DOCS.parent}/"), encoding="utf-8")
    assert [one.name for one in load(file).compose] == ["add", "swap"]
