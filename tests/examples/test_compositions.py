"""The example of compositions: data that its script makes, parallel and disjoint by meaning, and configs that load."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from analysis.statistics.languages.uriel import distances
from examples.compositions import build, news
from examples.quickstart.tasks.dataset import read
from study.cells import Cell, Source
from study.config.expansion import cells_used
from study.config.file import load
from study.data.tasks import TaskLibrary
from tests.support.tiny_world import REPOSITORY

FOLDER = REPOSITORY / "examples" / "compositions"
ARTICLE = 'It rained.\t"Much", they said.\nThen it did not.'


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "data" / f"{name}.jsonl").read_text("utf-8").splitlines()]


def meanings(split: str) -> set[tuple[str, str]]:
    return {fact for things in build.drafts(split) for fact, _ in things}


def test_its_files_are_what_its_script_makes() -> None:
    made = build.files()
    there = [*(FOLDER / "data").iterdir(), *(FOLDER / "tasks").glob("[!_]*.yaml")]
    assert sorted(made) == sorted(file.relative_to(FOLDER).as_posix() for file in there)
    for name, text in made.items():
        assert (FOLDER / name).read_bytes() == text.encode(), name


def test_digests_are_parallel_and_of_the_promised_number() -> None:
    for split, count in build.ITEMS.items():
        things = list(build.drafts(split))
        assert len(things) == count
        assert all(len(some) == build.THINGS for some in things)
        assert len({kind for some in things for (kind, _), _ in some}) == len(build.KINDS)
        for language in build.LANGUAGES:
            some = rows(f"digest_{language}.{split}")
            assert [row["id"] for row in some] == [f"digest-{split}-{number}" for number in range(count)]
            for row, said in zip(some, things, strict=True):
                assert row["text"] == " ".join(build.stated(fact, form, language) for fact, form in said)
                assert row["digest"].split(", ") == [build.SORTS[language][kind] for (kind, _), _ in said]
    for kind in build.KINDS:  # a sort is called what the third form of its statements calls it
        for language in build.LANGUAGES:
            concept = build.pools(kind)["train"][0]
            assert build.SORTS[language][kind] in build.stated((kind, concept), 2, language)


def test_no_meaning_of_one_split_is_in_another_nor_in_what_is_learned_beside_it() -> None:
    train, validation, test = (meanings(split) for split in build.ITEMS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    learned = {(kind, concept) for kind in build.KINDS for concept in build.pools(kind)["train"]}
    assert not learned & (validation | test)
    for kind in build.KINDS:
        sides: dict[str, set[str]] = {"train": set(), "test": set()}
        for item in read(kind)["items"]:
            sides[item["split"]] |= {*item["options"], item["key"]}
        told = {part for name, concept in learned | train | validation if name == kind for part in concept.split(":")}
        assert not told & sides["test"]
        assert {part for name, concept in test if name == kind for part in concept.split(":")} <= sides["test"]


def test_every_cell_can_be_learned_and_asked() -> None:
    config = load(FOLDER / "study.yaml")
    library = TaskLibrary.of(config)
    library.check(cells_used(config))
    for source in config.source_list():
        examples = library.source_examples(source)
        assert len(library.example_fingerprints(source)) == len(source.cells)
        if source.task == "digest":
            assert all(one.append_eos and one.prompt.endswith(":\n") for one in examples)
            assert len(examples) == build.ITEMS["train"] * len(source.cells)
    assert {cell.task for cell in config.target_list()} == {task.name for task in config.tasks}
    asked = library.build_requests(Cell("digest", "fr"))
    assert len(asked) == build.ITEMS["test"]
    assert asked[0].args[0].endswith("\nSujets :\n")


def test_the_related_languages_of_the_papers_design_are_the_nearest() -> None:
    config = load(FOLDER / "language_task_arithmetic.yaml")
    learned = [source.language for source in config.source_list()]
    apart = distances(list(config.languages), "syntax_knn")
    place = {language: i for i, language in enumerate(config.languages)}
    related = {one.name.removeprefix("related_"): one for one in config.compose if one.name.startswith("related_")}
    assert [*related, "en"] == sorted(config.languages, key=lambda one: one == "en")
    for language, one in related.items():
        nearest = sorted(set(learned) - {language}, key=lambda other: apart[place[language], place[other]])[:2]
        assert {str(term.source) for term in one.terms} == {f"summary/{other}" for other in nearest}
        assert {term.weight for term in one.terms} == {0.5}
    assert all(key.split(".")[0] in type(config).model_fields for key in config.assumed)


def test_news_become_rows_with_ids_and_nothing_is_lost_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "yor"
    folder.mkdir(parents=True)
    for split, told in (
        ("train", [("Rain", ARTICLE), ("", ARTICLE)]),
        ("test", [("Sun", "It shone."), ("NA", "None")]),
    ):
        with (folder / f"{split}.tsv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, dialect="excel-tab")
            writer.writerow(["category", "headline", "text", "url"])
            writer.writerows(["weather", headline, text, "x"] for headline, text in told)
    out = tmp_path / "out"
    assert news.main(["masakhanews", str(tmp_path / "data"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "masakhanews_yor.train.jsonl: 1 rows, 1 left out" in said
    assert "masakhanews_yor: your copy has no validation" in said
    (row,) = [json.loads(line) for line in (out / "masakhanews_yor.train.jsonl").read_text().splitlines()]
    assert row == {"id": "yor-train-0", "text": ARTICLE, "summary": "Rain"}
    assert "None" in (out / "masakhanews_yor.test.jsonl").read_text()


def test_archives_of_xlsum_are_read_without_unpacking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [{"id": "a1", "url": "u", "title": "t", "summary": "Ojo.", "text": "Ojo ro."}, {"id": "a2", "text": "x"}]
    with tarfile.open(tmp_path / "yoruba_XLSum_v2.0.tar.bz2", "w:bz2") as archive:
        for split in ("train", "val", "test"):
            text = "".join(json.dumps(row) + "\n" for row in said).encode()
            entry = tarfile.TarInfo(f"./yoruba_{split}.jsonl")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    out = tmp_path / "out"
    assert news.main(["xlsum", str(tmp_path), "--out", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == [
        f"xlsum_yoruba.{split}.jsonl" for split in ("test", "train", "validation")
    ]
    assert json.loads((out / "xlsum_yoruba.validation.jsonl").read_text()) == {
        "id": "a1", "text": "Ojo ro.", "summary": "Ojo."
    }  # fmt: skip
    assert news.main(["xlsum", str(out)]) == 2
    assert "no file of xlsum lies here" in capsys.readouterr().err


def test_data_are_changed_in_each_of_the_ways() -> None:
    config = load(FOLDER / "data_or_adapter.yaml")
    library = TaskLibrary.of(config)
    eight, switched, translated = (source for source in config.source_list() if source.change is not None)
    assert [len(examples) for examples in library.each_of(eight)] == [160, 8]
    own = library.source_examples(Source.of(switched.cells))
    mixed = library.source_examples(switched)
    assert sum(a != b for a, b in zip(own, mixed, strict=True)) > 150
    words = library.switched()[switched]
    assert 0.4 < words.switched / words.known < 0.6
    assert {one.answer.split(",")[0] for one in library.source_examples(translated)} <= set(build.SORTS["de"].values())
