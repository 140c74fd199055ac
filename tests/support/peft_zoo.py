"""A folder of every kind of adapter that PEFT knows, with weights that matter, for a tiny base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from peft import get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

NOISE = 0.1  # standard deviation added to each trained number


@dataclass(frozen=True)
class Place:
    """Where adapters go in a base, by the names of its modules."""

    linear: tuple[str, ...]  # by their last names: some of an attention, one that follows its nonlinearity
    forward: tuple[str, ...]  # of these the ones that IA3 takes for feed-forward
    embedding: str
    norm: str
    layers: bool  # whether PEFT can replicate its layers
    expert: str | None = None  # a parameter that holds several experts


PLACES = {
    "llama": Place(("q_proj", "v_proj", "down_proj"), ("down_proj",), "embed_tokens", "norm", True),
    "gpt2": Place(("c_attn", "c_fc"), ("c_fc",), "wte", "ln_f", False),
    "qwen2": Place(("q_proj", "v_proj", "down_proj"), ("down_proj",), "embed_tokens", "norm", False),
    "mixtral": Place(("q_proj", "v_proj"), (), "embed_tokens", "norm", False, "experts.gate_up_proj"),
}
EXPERTS = {  # where older PEFT found the linear modules of single experts: below a layer, first the two that go in
    "mixtral": ("block_sparse_moe.experts", ("w1", "w3", "w2")),
    "qwen2_moe": ("mlp.experts", ("gate_proj", "up_proj", "down_proj")),
    "qwen3_moe": ("mlp.experts", ("gate_proj", "up_proj", "down_proj")),
}
TOKENS = [20, 30, 40, 50]
ADDED = ["plum", "Answer", "une"]  # to the adapter's own tokenizer, for parts of the texts that are scored


def kinds(base: str) -> dict[str, dict[str, Any]]:
    """Every kind by a name: `kind` is the name of its configuration class in PEFT, the rest its arguments."""
    place = PLACES[base]
    lora = {"kind": "LoraConfig", "r": 4, "lora_alpha": 8, "target_modules": list(place.linear)}
    first, both = place.linear[0], [*place.linear, place.embedding, "lm_head"]
    found = {
        "LORA": lora,
        "LORA rslora": {**lora, "use_rslora": True},
        "LORA dora": {**lora, "use_dora": True},
        "LORA bias all": {**lora, "bias": "all"},
        "LORA bias lora_only": {**lora, "bias": "lora_only"},
        "LORA lora_bias": {**lora, "lora_bias": True},
        "LORA rank_pattern": {**lora, "rank_pattern": {first: 2}, "alpha_pattern": {first: 3}},
        "LORA layers_to_transform": {**lora, "layers_to_transform": [1]},
        "LORA exclude_modules": {**lora, "exclude_modules": [first]},
        "LORA regex": {**lora, "target_modules": rf".*\.{first}"},
        "LORA all-linear": {**lora, "target_modules": "all-linear"},
        "LORA head": {**lora, "target_modules": [*place.linear, "lm_head"]},
        "LORA embedding": {**lora, "target_modules": [*place.linear, place.embedding]},
        "LORA saves the head": {**lora, "modules_to_save": ["lm_head"]},
        "LORA saves the embedding": {**lora, "modules_to_save": [place.embedding]},
        "LORA saves a norm": {**lora, "modules_to_save": [place.norm]},
        "LORA saves head and embedding": {**lora, "modules_to_save": ["lm_head", place.embedding]},
        "LORA own tokens": {**lora, "added": ADDED},
        "LORA own tokens saved": {**lora, "added": ADDED, "modules_to_save": ["lm_head", place.embedding]},
        "LORA own tokens on both": {**lora, "added": ADDED, "target_modules": both},
        "LORA tokens": {**lora, "trainable_token_indices": TOKENS},
        "LORA pissa": {**lora, "init_lora_weights": "pissa"},
        "LORA olora": {**lora, "init_lora_weights": "olora"},
        "LORA gaussian": {**lora, "init_lora_weights": "gaussian"},
        "LORA orthogonal": {**lora, "init_lora_weights": "orthogonal"},
        "LORA eva": {**lora, "init_lora_weights": "eva", "eva_config": peft.EvaConfig()},
        "LORA activated": {**lora, "alora_invocation_tokens": [30, 31]},
        "LORA qalora": {**lora, "use_qalora": True, "qalora_group_size": 8},
    }
    if place.layers:
        found["LORA layer_replication"] = {**lora, "layer_replication": [[0, 1], [0, 2]]}
    if place.expert:
        found["LORA experts"] = {**lora, "target_parameters": [place.expert]}
        found["LORA per expert"] = per_expert(base)
        found["LORA experts alone"] = {**lora, "target_modules": None, "target_parameters": [place.expert]}
    own = {"target_modules": list(place.linear)}
    return {
        **found,
        "ADALORA": {"kind": "AdaLoraConfig", "init_r": 4, "target_r": 2, "total_step": 10, "tinit": 1, "tfinal": 2}
        | own,
        "ADAMSS": {"kind": "AdamssConfig", "r": 8, "num_subspaces": 2, **own},
        "BOFT": {"kind": "BOFTConfig", "boft_block_size": 4, **own},
        "BEFT": {"kind": "BeftConfig", "target_modules": [*place.linear]},
        "C3A": {"kind": "C3AConfig", "block_size": 8, **own},
        "DEFT": {"kind": "DeftConfig", "r": 4, **own},
        "DELORA": {"kind": "DeloraConfig", "r": 4, **own},
        "FOURIERFT": {"kind": "FourierFTConfig", "n_frequency": 20, **own},
        "FROD": {"kind": "FrodConfig", **own},
        "GLORA": {"kind": "GloraConfig", "r": 4, **own},
        "GRALORA": {"kind": "GraloraConfig", "r": 4, "alpha": 8, **own},
        "HIRA": {"kind": "HiraConfig", "r": 4, **own},
        "HRA": {"kind": "HRAConfig", "r": 4, **own},
        "IA3": {"kind": "IA3Config", "feedforward_modules": list(place.forward), **own},
        "LILY": {"kind": "LilyConfig", "r": 4, **own},
        "LN_TUNING": {"kind": "LNTuningConfig", "target_modules": [place.norm]},
        "LOHA": {"kind": "LoHaConfig", "r": 4, **own},
        "LOKR": {"kind": "LoKrConfig", "r": 4, **own},
        "MISS": {"kind": "MissConfig", "r": 4, **own},
        "MISS bat": {"kind": "MissConfig", "r": 4, "init_weights": "bat", **own},
        "OFT": {"kind": "OFTConfig", "oft_block_size": 4, **own},
        "OSF": {"kind": "OSFConfig", "effective_rank": 4, **own},
        "PEANUT": {"kind": "PeanutConfig", "r": 4, **own},
        "POLY": {"kind": "PolyConfig", "r": 4, "n_skills": 2, **own},
        "PSOFT": {"kind": "PsoftConfig", "r": 4, **own},
        "PVERA": {"kind": "PveraConfig", "r": 4, **own},
        "RANDLORA": {"kind": "RandLoraConfig", "r": 4, **own},
        "ROAD": {"kind": "RoadConfig", "group_size": 8, **own},
        "SHADOW": {"kind": "ShadowConfig", "r": 4, **own},
        "SHIRA": {"kind": "ShiraConfig", "r": 4, **own},
        "SUPERTUNING": {"kind": "SupertuningConfig", **own},
        "TINYLORA": {"kind": "TinyLoraConfig", "r": 2, "u": 8, **own},
        "TRAINABLE_TOKENS": {"kind": "TrainableTokensConfig", "token_indices": TOKENS},
        "UNILORA": {"kind": "UniLoraConfig", "r": 4, "theta_d_length": 16, **own},
        "VBLORA": {"kind": "VBLoRAConfig", "r": 4, "num_vectors": 8, "vector_length": 8, **own},
        "VERA": {"kind": "VeraConfig", "r": 4, **own},
        "WAVEFT": {"kind": "WaveFTConfig", "n_frequency": 20, **own},
        "PROMPT_TUNING": {"kind": "PromptTuningConfig", "num_virtual_tokens": 4},
        "MULTITASK_PROMPT_TUNING": {"kind": "MultitaskPromptTuningConfig", "num_virtual_tokens": 4, "num_tasks": 2},
        "PREFIX_TUNING": {"kind": "PrefixTuningConfig", "num_virtual_tokens": 4},
        "P_TUNING": {"kind": "PromptEncoderConfig", "num_virtual_tokens": 4, "encoder_hidden_size": 16},
        "CPT": {
            "kind": "CPTConfig",
            "cpt_token_ids": TOKENS,
            "cpt_mask": [1] * 4,
            "cpt_tokens_type_mask": [1, 2, 3, 4],
        },
        "CARTRIDGE": {"kind": "CartridgeConfig", "num_virtual_tokens": 4},
        "ADAPTION_PROMPT": {"kind": "AdaptionPromptConfig", "adapter_len": 4, "adapter_layers": 1},
    }


def per_expert(base: str) -> dict[str, Any]:
    """LoRA on each expert by itself, as older PEFT had it in a type of models."""
    modules = ["q_proj", "v_proj", *EXPERTS[base][1]]
    return {"kind": "LoraConfig", "r": 4, "lora_alpha": 8, "target_modules": modules, "experts": base}


LEFT_OUT = {"XLORA": "mixes other adapters, by their paths"}


def make(model: Path, folder: Path, settings: dict[str, Any], seed: int) -> Path:
    """Save an adapter of a kind, each of its trained numbers moved at random."""
    if "experts" in settings:
        return _per_expert(model, folder, settings, seed)
    arguments = {key: value for key, value in settings.items() if key not in ("kind", "added")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        if "added" in settings:
            tokenizer = AutoTokenizer.from_pretrained(model)
            tokenizer.add_tokens(settings["added"])
            tokenizer.save_pretrained(folder)
            base.resize_token_embeddings(len(tokenizer))
        wrapped = get_peft_model(base, getattr(peft, settings["kind"])(task_type="CAUSAL_LM", **arguments))
        for parameter in wrapped.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.data += NOISE * torch.randn(parameter.shape)
    wrapped.save_pretrained(folder)
    return folder


def _per_expert(model: Path, folder: Path, settings: dict[str, Any], seed: int) -> Path:
    """An adapter as PEFT wrote it when each expert had linear modules of its own."""
    config = AutoConfig.from_pretrained(model)
    hidden, rank = config.hidden_size, settings["r"]
    wide = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    where, (gate, up, down) = EXPERTS[settings["experts"]]
    shapes = {gate: (hidden, wide), up: (hidden, wide), down: (wide, hidden)}
    layers = [f"base_model.model.model.layers.{layer}" for layer in range(config.num_hidden_layers)]
    number = getattr(config, "num_local_experts", None) or config.num_experts
    experts = [f"{layer}.{where}.{e}" for layer in layers for e in range(number)]
    places = {f"{expert}.{name}": shape for expert in experts for name, shape in shapes.items()}
    head = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    full, narrow = config.num_attention_heads * head, config.num_key_value_heads * head
    for layer in layers:
        places |= {f"{layer}.self_attn.q_proj": (hidden, full), f"{layer}.self_attn.v_proj": (hidden, narrow)}
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for place, (fan_in, fan_out) in places.items():
        tensors[f"{place}.lora_A.weight"] = NOISE * torch.randn(rank, fan_in, generator=draw)
        tensors[f"{place}.lora_B.weight"] = NOISE * torch.randn(fan_out, rank, generator=draw)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    arguments = {key: value for key, value in settings.items() if key not in ("kind", "experts")}
    peft.LoraConfig(task_type="CAUSAL_LM", **arguments).save_pretrained(str(folder))
    return folder
