"""What a plan says of combinations."""

from __future__ import annotations

from orchestrator.progress.combinations import lines, unreported
from study.config.file import parse
from tests.orchestrator.planning.test_plan import TEXT, grid_of

COMPOSE = """
sources: [arc/en]
compose:
  - {name: add, for: {language: [de]}, method: sum, lambda: {grid: [0.5, 1], protocol: target}, terms: [{source: arc/en,
     weight: 1-lambda}, {source: "mmlu/{language}", weight: lambda}]}
  - {name: both, method: ties, density: 0.2, lambda: {grid: [1]}, terms: [{source: [arc/en, arc/de]}, {source: mmlu/en,
     weight: lambda}]}
"""


def test_it_has_each_with_its_parts_what_they_cost_and_what_they_may_have_seen() -> None:
    assert list(lines(grid_of(parse(TEXT)))) == []
    said = list(lines(grid_of(parse(TEXT + COMPOSE))))
    assert said[:3] == [
        "combinations: 2, which are 12 adapters to put together and none to train",  # of 3 lambdas, 2 models, 2 seeds
        "  add[de] = sum(1-lambda * arc/en, lambda * mmlu/de, lambda 0.5, 1 by target)",
        "  both = ties(arc/en+arc/de, lambda * mmlu/en, density 0.2, lambda 1 by other_languages)",
    ]
    assert said[3].endswith("mmlu/de, arc/en+arc/de, mmlu/en (12 adapters)")
    assert said[4] == "to choose lambda: 56 scores on items that are held out"  # 4 items' cells of 2 bases and 12 sums
    assert said[5].startswith("  both: arc/en+arc/de may have learned from some of them")
    assert len(said) == 6
    assert list(unreported(parse(TEXT + COMPOSE))) == []


def test_it_says_where_no_lambda_is_chosen() -> None:
    alone = COMPOSE[: COMPOSE.index("  - {name: both")].replace("[de]", "[de, en]")
    others = alone.replace("protocol: target", "protocol: other_languages")
    few = "targets: [arc/de, arc/en, mmlu/de]\n"
    for text in (alone, alone.replace("protocol: target", "protocol: source"), others, alone + few):
        assert list(unreported(parse(TEXT + text))) == []
    (line,) = unreported(parse(TEXT + others + few))
    assert line.startswith("no lambda of add[de], add[en] is chosen for mmlu/de: other_languages finds")
