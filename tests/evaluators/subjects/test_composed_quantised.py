"""What is put together of others, on a base whose weights are quantised: as PEFT says it on a base of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import ArrowConfig, PeftModel
from peft.tuners.lora.arrow import create_arrow_model

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.probe import said, tokens_of
from adapters.composing import folder as files
from adapters.composing.composed import compose
from adapters.composing.parts import read_parts
from evaluators.subjects.composed import Routed
from evaluators.subjects.on_base import adapter_on, load_base
from evaluators.subjects.touchstone import Touchstone
from study.composition import Composition, Method, Term
from study.models.resolve import Model
from tests.evaluators.conftest import make_adapter, model_of
from tests.support.compositions import composition
from tests.support.quantised import ARCHITECTURES, QUANTISATIONS, loaded, make_architecture

WEIGHTS = {"a": 0.5, "b": -1.0}
METHODS: dict[Method, dict[str, Any]] = {"sum": {}, "ties": {"density": 0.5, "rank": "full"}, "arrow": {"top_k": 1}}
EXACT = {"nf4": 1e-4, "int8": 0.25}  # nats; in the latter last bits and other rows move what inputs are rounded to

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    folder = tmp_path_factory.mktemp(request.param)
    model = make_architecture(request.param, folder / "model")
    return model, {name: make_adapter(model, folder / name, seed) for seed, name in enumerate("ab")}


def asked(method: Method) -> Composition:
    terms = (Term(name, 1.0 if method == "arrow" else weight) for name, weight in WEIGHTS.items())
    return composition(method, *terms, **METHODS[method])


def by_peft(base: Any, method: Method, parts: Mapping[str, Path], folder: Path) -> torch.Tensor:
    """What PEFT says: of a sum by its own `cat`, of other matrices by reading our folder, of routing by its router."""
    tokens = tokens_of(base)
    if method == "arrow":
        config = ArrowConfig(top_k=1, rng_seed=0)
        return said(create_arrow_model(base, [str(path) for path in parts.values()], config).eval(), tokens)
    if method != "sum":
        return said(PeftModel.from_pretrained(base, folder).eval(), tokens)
    model = PeftModel.from_pretrained(base, parts["a"], adapter_name="a")
    model.load_adapter(parts["b"], adapter_name="b")
    model.add_weighted_adapter(["a", "b"], list(WEIGHTS.values()), "both", combination_type="cat")
    model.set_adapter("both")
    return said(model.eval(), tokens)


@contextmanager
def subject(base: Any, model: Model, method: Method, parts: Mapping[str, Path], folder: Path) -> Iterator[Any]:
    """What is scored of the parts, put together in this way."""
    made = asked(method)
    if method == "arrow":
        yield Routed(made, parts).on(base)
        return
    files.write(folder, compose(made, read_parts(base, made.terms, parts)), model, base)
    with adapter_on(base, folder, Touchstone(base)) as found:
        yield found


@pytest.mark.parametrize("quantization", QUANTISATIONS)
def test_each_method_says_what_peft_says_and_leaves_the_base_alone(
    world: tuple[Path, dict[str, Path]], quantization: str, tmp_path: Path
) -> None:
    path, parts = world
    model = replace(model_of(path), quantization=quantization)
    base = load_base(model)
    tokens, since = tokens_of(base), fingerprint(base)
    alone = said(base, tokens)
    for method in METHODS:
        with subject(base, model, method, parts, tmp_path / method) as found:
            assert found is not base, "nothing is merged into weights that are quantised"
            ours = said(found, tokens)
        theirs = by_peft(loaded(path, quantization), method, parts, tmp_path / method)
        assert (theirs - alone).abs().max() > 1, method
        torch.testing.assert_close(ours, theirs, atol=EXACT[quantization], rtol=0, msg=method)
        assert changed(base, since) is None
        assert torch.equal(said(base, tokens), alone)
