"""Adapters that are put together of others, as the evaluator meets them: made once, right, no trouble for others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects import composed as put_on
from study.cells import Cell
from study.composition import Composition, Method, Term, gathered
from study.config import Scoring, TaskConfig
from study.store import composed
from study.store.layout import COMPOSED_FILE, WEIGHTS_FILE
from study.store.store import Store
from study.units import AdapterUnit, ComposedAdapter, ScoreUnit
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, write_task
from tests.support.tiny_models import make_model

CELL = Cell("quiz", "en")


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    write_task(folder, "quiz_en", make_docs(8, seed=0))
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.fixture(scope="module")
def folders(outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    other = make_model(tmp_path_factory.mktemp("other"), spread=0.2, layers=3)
    return {
        **{name: make_adapter(outspoken_model, folder / name, seed) for seed, name in enumerate("abc")},
        "dora": make_adapter(outspoken_model, folder / "dora", 5, use_dora=True),
        "stranger": make_adapter(other, folder / "stranger", 6),
    }


def put_together(
    method: Method, parts: Sequence[tuple[AdapterUnit, float]], name: str = "x", rank: int | None = None
) -> ComposedAdapter:
    units = {unit.adapter_id: unit for unit, _ in parts}
    made = Composition(method, gathered(Term(unit.adapter_id, weight) for unit, weight in parts), rank)
    own = tuple(units[term.adapter_id] for term in made.terms)
    return ComposedAdapter(made.identity, "tiny", name, made, own, 1)


def unit(adapter: AdapterUnit | ComposedAdapter | None) -> ScoreUnit:
    subject = adapter.adapter_id if adapter else "base"
    return ScoreUnit(f"score-{subject}", subject, "quiz-en", "tiny", 30_000, adapter, CELL)


def said(store: Store, scored: ScoreUnit) -> torch.Tensor:
    rows = sorted((r for r in store.items().to_pylist() if r["score_id"] == scored.score_id), key=lambda r: r["doc_id"])
    return torch.tensor([row["loglikelihoods"] for row in rows], dtype=torch.float64)


def test_each_says_what_it_is_made_of_and_leaves_the_base_as_it_was(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, folders: dict[str, Path]
) -> None:
    store = Store(str(tmp_path))
    a, b, c = (put_adapter(store, folders[name], name) for name in "abc")
    back = put_together("sum", [(a, 1), (b, 1), (b, -1)], "back")  # is a, whatever it is called
    both, less = put_together("sum", [(a, 0.5), (b, 0.5)]), put_together("sum", [(a, -1)], "less")
    added, routed = put_together("factors", [(a, -1)], "added"), put_together("arrow", [(a, 1), (b, 1)], "routed")
    cut = put_together("svd", [(a, 0.5), (b, 0.5)], "cut", rank=2)
    wanted = [unit(one) for one in (None, a, back, both, less, added, routed, cut, c)]
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))
    apart = Store(str(tmp_path / "apart"))
    for name in "abc":
        put_adapter(apart, folders[name], name)
    assert all(one.ok for one in evaluator.score(wanted))
    plain = [unit(one) for one in (None, c)]
    assert all(one.ok for one in Evaluator(model_of(outspoken_model), apart, Settings((quiz,), Scoring())).score(plain))
    for one in plain:  # with nothing composed before them
        torch.testing.assert_close(said(store, one), said(apart, one), rtol=0, atol=0)
    base, of_a = said(store, unit(None)), said(store, unit(a))
    assert (of_a - base).abs().max() > 0.1
    torch.testing.assert_close(said(store, unit(back)), of_a, rtol=0, atol=1e-5)
    torch.testing.assert_close(said(store, unit(added)), of_a, rtol=0, atol=1e-5)  # -A and -B: the sign is lost
    for one in (both, less, routed):
        assert (said(store, unit(one)) - of_a).abs().max() > 0.05
    found = composed.records(store)
    assert found.keys() == {one.adapter_id for one in (back, both, less, added, routed, cut)}
    assert found[less.adapter_id].norm == pytest.approx(found[back.adapter_id].norm)
    assert found[routed.adapter_id].norm is None
    lossy = found[cut.adapter_id]
    assert lossy.truncation is not None
    assert 0 < lossy.truncation < 1
    assert len(lossy.truncations) > 1
    assert min(lossy.truncations.values()) < lossy.truncation < max(lossy.truncations.values())
    assert found[both.adapter_id].truncations == found[routed.adapter_id].truncations == {}
    assert [(pair.first, pair.second) for pair in found[both.adapter_id].pairs] == [(0, 1)]


def test_what_was_put_together_is_read_again_and_needs_its_parts_no_more(
    tmp_path: Path,
    quiz: TaskConfig,
    outspoken_model: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(str(tmp_path))
    a, b = (put_adapter(store, folders[name], name) for name in "ab")
    both = put_together("sum", [(a, 1), (b, 1)])
    settings = Settings((quiz,), Scoring())
    Evaluator(model_of(outspoken_model), store, settings).score([unit(both)])
    first = composed.records(store)[both.adapter_id]
    written, before = (tmp_path / both.folder / WEIGHTS_FILE).read_bytes(), said(store, unit(both))
    (tmp_path / both.folder / COMPOSED_FILE).unlink()  # a process was killed before it wrote that
    monkeypatch.setattr(put_on, "IN_MEMORY", 0)  # on a disk it comes to the same
    Evaluator(model_of(outspoken_model), store, settings).score([unit(both)])
    assert (tmp_path / both.folder / WEIGHTS_FILE).read_bytes() == written
    assert composed.records(store)[both.adapter_id].files == first.files
    for part in (a, b):
        shutil.rmtree(tmp_path / part.folder)
    other = Store(str(tmp_path / "other"))
    shutil.copytree(tmp_path / "adapters", tmp_path / "other" / "adapters")
    assert Evaluator(model_of(outspoken_model), other, settings).score([unit(both)])[0].ok
    torch.testing.assert_close(said(other, unit(both)), before, rtol=0, atol=0)


class Counted(Store):
    """A store that counts which adapters are read from it."""

    def fetch_adapter(self, folder: str, local: Path) -> Path:
        self.fetched = [*getattr(self, "fetched", []), folder]
        return super().fetch_adapter(folder, local)


def test_scoring_reads_each_part_once_and_what_was_put_together_instead_of_its_parts(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, folders: dict[str, Path]
) -> None:
    """Of six of three parts the parts are read, three in all; in another process the six, and no part."""
    store, settings = Counted(str(tmp_path)), Settings((quiz,), Scoring())
    a, b, c = (put_adapter(store, folders[name], name) for name in "abc")
    made = [put_together("sum", [(a, weight), (b, 1), (c, -weight)], f"x{weight}") for weight in (0.25, 0.5, 1, 1.5, 2)]
    made.append(put_together("sum", [(a, 1), (b, -1)], "less"))
    for read in ([a, b, c], made):
        store.fetched = []
        assert all(one.ok for one in Evaluator(model_of(outspoken_model), store, settings).score([*map(unit, made)]))
        assert sorted(store.fetched) == sorted(one.folder for one in read)


def test_one_that_cannot_be_put_together_fails_alone_and_names_the_part(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, folders: dict[str, Path]
) -> None:
    store = Store(str(tmp_path))
    a, dora, stranger = (put_adapter(store, folders[name], name) for name in ("a", "dora", "stranger"))
    broken, gone = put_adapter(store, folders["b"], "broken"), put_adapter(store, folders["c"], "gone")
    file = tmp_path / broken.folder / WEIGHTS_FILE
    save_file({name: tensor * float("nan") for name, tensor in load_file(file).items()}, file)
    shutil.rmtree(tmp_path / gone.folder)
    wrong = {one: put_together("sum", [(a, 1), (one, 1)], one.adapter_id) for one in (dora, stranger, broken, gone)}
    wanted = [unit(one) for one in (*wrong.values(), a)]
    scored = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring())).score(wanted)
    assert [one.ok for one in scored] == [False, False, False, False, True]
    for part, result in zip(wrong, scored, strict=False):
        assert result.kind == "bad_data"
        assert str(part) in str(result.message)
        assert str(tmp_path) not in str(result.message).replace(str(part), "")


def test_several_of_one_part_that_has_other_names_read_it_once(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, folders: dict[str, Path]
) -> None:
    """The copy of an adapter under this base's names was made again for each, and was there already."""
    store = Store(str(tmp_path))
    a, b = (put_adapter(store, folders[name], name) for name in "ab")
    plain = put_together("sum", [(a, 0.5), (b, 1)])
    settings = Settings((quiz,), Scoring())
    Evaluator(model_of(outspoken_model), store, settings).score([unit(plain)])
    file = tmp_path / a.folder / WEIGHTS_FILE
    named = {name.replace(".model.layers.", ".model.language_model.layers."): t for name, t in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})
    other = Store(str(tmp_path / "other"))
    shutil.copytree(tmp_path / "adapters", tmp_path / "other" / "adapters")
    shutil.rmtree(tmp_path / "other" / plain.folder)
    wanted = [unit(one) for one in (a, plain, put_together("sum", [(a, 1), (b, -1)], "less"))]
    assert all(one.ok for one in Evaluator(model_of(outspoken_model), other, settings).score(wanted))
    torch.testing.assert_close(said(other, unit(plain)), said(store, unit(plain)), rtol=0, atol=1e-5)
