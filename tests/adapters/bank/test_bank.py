"""Several adapters in one batch are each what PEFT makes of them alone; what PEFT calls something else is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from adapters.bank.bank import LoraBank, for_adapters
from adapters.bank.dropout import Dropout, mask
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter, read
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from tests.support.tiny_models import save_model

CONFIGS = [
    LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    LoraConfig(r=8, lora_alpha=3, target_modules=["q_proj", "down_proj"], use_rslora=True),
    LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["v_proj", "up_proj"],
        rank_pattern={"v_proj": 6},
        alpha_pattern={r"layers\.1\.mlp\.up_proj": 32},
    ),
]
MIXES = [[0, 1, 2], [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2], [2, 0, 1, 0, None, 2], [None, None], [1, 1, 1], [2, 2, None]]


@pytest.fixture(scope="module")
def base(tiny_model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()


@pytest.fixture(scope="module")
def folders(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [
        save(AutoModelForCausalLM.from_pretrained(tiny_model_dir), config, tmp_path_factory.mktemp("adapter"), seed)
        for seed, config in enumerate(CONFIGS)
    ]


def save(base: Any, config: LoraConfig, folder: Path, seed: int = 0) -> Path:
    """An adapter with weights large enough to matter, in a PEFT folder."""
    wrapped = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3, generator=generator)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture
def bank(base: Any, folders: list[Path]) -> Iterator[LoraBank]:
    made = for_adapters(base, dict(enumerate(map(read, folders))), 3, torch.float32)
    yield made
    made.detach()


def tokens(rows: int) -> torch.Tensor:
    return torch.randint(3, 300, (rows, 17), generator=torch.Generator().manual_seed(rows))


def plain(model_dir: Path, folder: Path | None, ids: torch.Tensor) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder)
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


@pytest.mark.parametrize("slots", MIXES, ids=str)
def test_each_row_is_what_peft_makes_of_it_alone(
    base: Any, bank: LoraBank, folders: list[Path], tiny_model_dir: Path, slots: list[int | None]
) -> None:
    ids = tokens(len(slots))
    with torch.no_grad(), bank.rows(slots):
        actual = base(input_ids=ids).logits
    untouched = plain(tiny_model_dir, None, ids)
    for row, slot in enumerate(slots):
        expected = plain(tiny_model_dir, None if slot is None else folders[slot], ids[row : row + 1])[0]
        torch.testing.assert_close(actual[row], expected, rtol=1e-5, atol=1e-5)
        assert slot is None or (expected - untouched[row]).abs().max() > 0.01, "the adapter should do something"


def test_a_slot_is_swapped_in_place(base: Any, bank: LoraBank, folders: list[Path], tiny_model_dir: Path) -> None:
    bank.put(0, read(folders[2]))
    ids = tokens(1)
    with torch.no_grad(), bank.rows([0]):
        actual = base(input_ids=ids).logits
    torch.testing.assert_close(actual, plain(tiny_model_dir, folders[2], ids), rtol=1e-5, atol=1e-5)


def test_what_is_put_in_comes_out(bank: LoraBank, folders: list[Path]) -> None:
    for slot, folder in enumerate(folders):
        stored, given = bank.get(slot), read(folder)
        assert stored.modules.keys() == given.modules.keys()
        for name, factors in given.modules.items():
            assert torch.equal(stored.modules[name].a, factors.a)
            assert torch.equal(stored.modules[name].b, factors.b)
            assert stored.modules[name].scaling == factors.scaling


def test_generation_with_a_cache_keeps_rows_apart(
    base: Any, bank: LoraBank, folders: list[Path], tiny_model_dir: Path
) -> None:
    ids = tokens(3)
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 2, "eos_token_id": None}
    with bank.rows([0, 1, 2]):
        actual = base.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    for row, folder in enumerate(folders):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model_dir), folder).eval()
        one = ids[row : row + 1]
        expected = model.generate(input_ids=one, attention_mask=torch.ones_like(one), **options)
        assert torch.equal(actual[row], expected[0])


def gradients(base: Any, bank: LoraBank, slots: Sequence[int], dropout: Dropout | None = None) -> torch.Tensor:
    bank.sheet.requires_grad_()
    bank.sheet.grad = None
    with bank.rows(slots, dropout):
        base(input_ids=tokens(6)[: len(slots)]).logits.square().sum().backward()
    return bank.sheet.grad.clone()


@pytest.mark.parametrize("slots", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 2], [2, 0, 1, 0, 2, 2], [1] * 6], ids=str)
def test_gradients_are_pefts_and_do_not_mix(
    base: Any, bank: LoraBank, folders: list[Path], tiny_model_dir: Path, slots: list[int]
) -> None:
    base.requires_grad_(False)
    actual = gradients(base, bank, slots)
    for slot, folder in enumerate(folders):
        mine = [row for row, owner in enumerate(slots) if owner == slot]
        if not mine:
            assert not actual[slot].any()
            continue
        model = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(tiny_model_dir), folder, is_trainable=True
        ).eval()
        model(input_ids=tokens(6)[mine]).logits.square().sum().backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        for name, factors in bank.get(slot, actual).modules.items():
            for half, gradient in (("A", factors.a), ("B", factors.b)):
                expected = grads[f"base_model.model.{name}.lora_{half}.default.weight"]
                assert (gradient - expected).abs().max() <= 1e-4 * expected.abs().max(), name


def test_not_a_number_stays_in_its_own_rows(base: Any, bank: LoraBank) -> None:
    base.requires_grad_(False)
    clean = gradients(base, bank, [0, 1, 1, 2])
    bank.sheet.data[1] = math.nan
    actual = gradients(base, bank, [0, 1, 1, 2])
    assert torch.equal(actual[[0, 2]], clean[[0, 2]])
    assert actual[1].isnan().any()


def test_a_rows_dropout_is_its_own(base: Any, bank: LoraBank) -> None:
    """Whatever stands beside it and however far it is padded; another key or module draws another mask."""
    ids, keys = tokens(3), torch.tensor([11, 22, 33])
    with torch.no_grad(), bank.rows([0, 1, 2], Dropout(0.3, keys)):
        together = base(input_ids=ids).logits
    with torch.no_grad(), bank.rows([1], Dropout(0.3, keys[1:2])):
        alone = base(input_ids=ids[1:2, :9]).logits
    with torch.no_grad(), bank.rows([1], Dropout(0.3, keys[2:])):
        other = base(input_ids=ids[1:2, :9]).logits
    torch.testing.assert_close(together[1, :9], alone[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alone, other, atol=1e-3)


def test_dropout_drops_the_share_it_should_and_keeps_the_mean() -> None:
    keep = mask(torch.arange(40), 64, 96, 0.2)
    assert (~keep).float().mean().item() == pytest.approx(0.2, abs=0.002)
    assert (~keep).float().mean((1, 2)).std().item() == pytest.approx((0.16 / (64 * 96)) ** 0.5, rel=0.4)
    agree = (keep[:1] == keep[1:]).float().mean().item()
    assert agree == pytest.approx(0.8**2 + 0.2**2, abs=0.01), "streams of different rows should be independent"
    x = torch.ones(40, 64, 96)
    dropout = Dropout(0.2, torch.arange(40))
    assert dropout(x, 1).mean().item() == pytest.approx(1.0, abs=0.003)
    assert not torch.equal(dropout(x, 1), dropout(x, 2))


def test_the_base_is_as_it_was_after_the_bank(base: Any, folders: list[Path], tiny_model_dir: Path) -> None:
    bank = for_adapters(base, {0: read(folders[0])}, 1, torch.float32)
    with pytest.raises(RuntimeError, match="whose rows"):
        base(input_ids=tokens(1))
    bank.detach()
    with torch.no_grad():
        assert torch.equal(base(input_ids=tokens(2)).logits, plain(tiny_model_dir, None, tokens(2)))


def test_gpt2s_transposed_layers_count_as_linear(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"vocab_size": 300, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    save_model(GPT2LMHeadModel(GPT2Config(**options)), tmp_path / "base")
    config = LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", fan_in_fan_out=True)
    folder = save(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), config, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    adapter = read(folder)
    assert {site.name for site in sites_named(base, meant(base, "all-linear"))} == set(adapter.modules)
    bank = for_adapters(base, {0: adapter}, 2, torch.float32)
    with torch.no_grad(), bank.rows([0, None]):
        actual = base(input_ids=tokens(2)).logits
    torch.testing.assert_close(actual[:1], plain(tmp_path / "base", folder, tokens(2)[:1]), rtol=1e-5, atol=1e-5)


def test_all_linear_is_pefts_choice(base: Any, folders: list[Path]) -> None:
    assert {site.name for site in sites_named(base, meant(base, "all-linear"))} == set(read(folders[0]).modules)
    assert {site.name for site in sites_named(base, meant(base, ["q_proj", "down_proj"]))} == set(
        read(folders[1]).modules
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "IA3"),
        ("use_dora", True),
        ("bias", "lora_only"),
        ("modules_to_save", ["lm_head"]),
        ("init_lora_weights", "pissa"),
        ("target_parameters", ["experts.gate_up_proj"]),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(folders: list[Path], tmp_path: Path, key: str, value: Any) -> None:
    config = json.loads((folders[0] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    (tmp_path / "adapter_model.safetensors").write_bytes((folders[0] / "adapter_model.safetensors").read_bytes())
    with pytest.raises(UnsupportedAdapter, match=key):
        read(tmp_path)


def test_an_adapter_that_does_not_fit_is_refused(bank: LoraBank, base: Any, folders: list[Path]) -> None:
    narrow = LoraBank(base, sites_named(base, meant(base, ["q_proj"])), 8, 1, torch.float32, "cpu")
    narrow.detach()
    with pytest.raises(UnsupportedAdapter, match="up_proj"):
        narrow.put(0, read(folders[2]))
    strange = AdapterWeights({"model.layers.9.mlp.up_proj": read(folders[0]).modules["model.layers.0.mlp.up_proj"]})
    with pytest.raises(UnsupportedAdapter, match=r"layers\.9"):
        for_adapters(base, {0: strange}, 1, torch.float32)
    with pytest.raises(UnsupportedAdapter, match="pickled"):
        read(folders[0].parent)
    with pytest.raises(IndexError), bank.rows([3]):
        pass
