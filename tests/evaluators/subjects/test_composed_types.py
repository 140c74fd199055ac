"""Whatever is put together of others leaves a base of any architecture as it was, to the bit; also where parts are
mixed for each token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.probe import said, tokens_of
from adapters.composing import folder as files
from adapters.composing.composed import compose
from adapters.composing.parts import read_parts
from adapters.folders.folder import scaling
from adapters.folders.sites import sites_named
from adapters.kinds.lora_weights import modules_of, named, write
from adapters.modules.comparison import at_random
from evaluators.subjects.composed import Routed
from evaluators.subjects.on_base import adapter_on
from evaluators.subjects.touchstone import Touchstone
from study.composition import Composition, Method, Term
from study.config import Lora
from tests.evaluators.conftest import model_of
from tests.support import zoo

TYPES = ("llama", "qwen2", "gemma2", "gpt_neox", "phi", "gpt2", "mamba", "bloom", "opt", "mixtral", "lfm2")
LORA = Lora(r=2, alpha=4)


def put(base: PreTrainedModel, folder: Path) -> dict[str, Path]:
    """Two adapters of a base, with weights that matter."""
    shapes = {site.name: (LORA.r, site.fan_in, site.fan_out) for site in sites_named(base, modules_of(base, LORA))}
    found = {}
    for number, name in enumerate(("first", "second")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            weights = at_random(shapes, dict.fromkeys(shapes, scaling(LORA.alpha, LORA.r, LORA.rslora)))
        found[name] = folder / name
        write(found[name], LORA, base, model_of(folder), named(weights))
    return found


@contextmanager
def subject(
    base: PreTrainedModel, method: Method, parts: Mapping[str, Path], folder: Path
) -> Iterator[PreTrainedModel]:
    """What is scored of the parts, put together in this way."""
    made = Composition(method, tuple(Term(name) for name in sorted(parts)))
    if method == "arrow":
        yield Routed(made, parts).on(base)
        return
    files.write(folder / method, compose(made, read_parts(base, made.terms, parts)), model_of(folder), base)
    with adapter_on(base, folder / method, Touchstone(base)) as model:
        yield model


@pytest.mark.parametrize("kind", TYPES)
def test_a_base_is_what_it_was(kind: str, tmp_path: Path) -> None:
    base = zoo.build(kind, 320).eval()
    tokens_BT = tokens_of(base)
    alone, known, parts = said(base, tokens_BT), fingerprint(base), put(base, tmp_path)
    methods: tuple[Method, ...] = ("sum", "factors", "arrow")
    heard = []
    for method in methods:
        with subject(base, method, parts, tmp_path) as model:
            heard.append(said(model, tokens_BT))
        assert changed(base, known) is None, method
        assert torch.equal(said(base, tokens_BT), alone), method
    for one in heard:
        assert torch.isfinite(one).all()
        assert (one - alone).abs().max() > 1e-3
