"""A tiny model, with random weights from a seed, of every type that transformers can load as a causal language model.

Made offline from the type's configuration class: its sizes are cut to SMALL, and DIFFERENT holds only what a type needs
beside that. Weights are wide, so that what a model says depends on all of its input.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForTextToWaveform,
    AutoTokenizer,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES,
)

from tests.support.tiny_models import make_tokenizer

SPREAD = 0.2
LENGTH = 256
SMALL: dict[str, Any] = {  # a field is cut where a configuration has it
    **dict.fromkeys(
        ("hidden_size_global", "hidden_size", "n_embd", "d_model", "emb_dim", "word_embed_proj_dim", "embedding_size"),
        32,
    ),
    **dict.fromkeys(
        ("input_embedding_size", "output_embedding_size", "word_embed_proj_dim", "lru_width", "attention_hidden_size"),
        32,
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers", "num_decoder_layers", "num_blocks"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("swa_num_attention_heads", "num_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "swa_head_dim", "attention_head_size", "dim_head", "kv_channels", "d_head"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "linear_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "linear_num_heads"), 4),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "adapter_rank", "laurel_rank", "router_hidden_size"), 16),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 64),
    **dict.fromkeys(("dff", "dim_ff", "d_inner", "feed_forward_size", "dense_intermediate_size"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("intermediate_size_mlp", "shared_intermediate_size", "shared_experts_intermediate_size"), 32),
    "moe_shared_expert_intermediate_size": 32,
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group", "n_shared_experts", "num_shared_experts"), 1),
    **dict.fromkeys(("moe_num_shared_experts", "first_k_dense_replace", "num_dense_layers"), 1),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "mamba_dt_rank", "time_step_rank"), 4),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size", "local_attention"), 12),
    **dict.fromkeys(("attention_window_size", "attention_chunk_size", "local_attention_window_len"), 12),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "model_max_length"), LENGTH),
    **dict.fromkeys(("context_length", "max_target_positions", "original_max_position_embeddings"), LENGTH),
    **dict.fromkeys(("initializer_range", "init_std", "embed_init_std"), SPREAD),
    **dict.fromkeys(("num_nextn_predict_layers", "num_kv_shared_layers"), 0),
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    **dict.fromkeys(("index_head_dim", "linear_key_head_dim", "linear_value_head_dim"), 8),
    "index_n_heads": 4,
    "index_topk": LENGTH,  # of fewer, rounding decides which of equal scores count: no number would be certain
}
DEPTHS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks"}
VOCABULARIES = ("vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input")
KINDS = ("layer_types", "layers_block_type", "block_types", "mlp_layer_types")  # a layer of each kind that there is
DIFFERENT: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "cohere": {"logit_scale": 1.0},
    "cohere2": {"logit_scale": 1.0},
    "cohere2_moe": {"logit_scale": 1.0},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": None},
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},  # without these it is not built, nor run
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 32, "moe_top_k": 2},
    },
    "deepseek_v4": {"hc_mult": 2},
    "dots3_note_audio_encoder": {"adapter_input_size": 32, "adapter_out_dim": 32, "downsample_hidden_size": 16},
    "dots3_note_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 16,
        "swa_kv_lora_rank": 16,
        "swa_head_dim": 16,
        "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 8,
    },
    "dots3_note_vision_encoder": {
        "adapter_in_dim": 32,
        "adapter_out_dim": 32,
        "mlp_layer_types": ["dense", "sparse"],
    },
    "encodec": {
        "num_filters": 4,
        "hidden_size": 16,
        "num_lstm_layers": 1,
        "codebook_size": 64,
        "codebook_dim": 16,
        "upsampling_ratios": [2, 2],
    },
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
    },
    "inkling_text": {"logits_mup_width_multiplier": 1.0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1, "state_size": 8},
    "musicgen_decoder": {"num_codebooks": 2},
    "musicgen_melody_decoder": {"num_codebooks": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": LENGTH,
        "indexer_compress_ratio": 4,
    },
    "reformer": {
        "is_decoder": True,
        "axial_pos_shape": [16, 16],
        "axial_pos_embds_dim": [16, 16],
        "attn_layers": ["local", "lsh"],
    },
    "roc_bert": {
        "pronunciation_vocab_size": 32,
        "shape_vocab_size": 32,
        "pronunciation_embed_dim": 16,
        "shape_embed_dim": 16,
    },
    "t5": {"d_kv": 8, "d_ff": 64},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "attention_hidden_size": 64,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
    },
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid", "hybrid"], "num_hidden_layers": 3},
    "zaya": {"num_experts_per_tok": 1},
}
NOT_BUILT: dict[str, tuple[str, dict[str, Any]]] = {  # here: in a folder of theirs lie the weights of their text part
    "gemma3n": ("gemma3n_text", {}),  # its part for images needs timm
    "gemma4_assistant": ("gemma4_text", {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}),
    "gemma4_unified_assistant": ("gemma4_unified_text", {}),  # they draft for another model, whose cache they read
}
BESIDE = ("t5", "mt5", "umt5", "longt5", "led", "m2m_100", "distilbert", "albert", "deberta-v2")  # no causal LMs
TYPES = (*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *BESIDE)


def config_of(kind: str, vocabulary: int, **changes: Any) -> Any:
    """The type's configuration, small. `changes` replace what it says."""
    cls = CONFIG_MAPPING[kind]
    fields = {**_cut(cls, vocabulary), **DIFFERENT.get(kind, {}), **changes}
    for name, part in _parts(cls, fields).items():
        own = {key: value for key, value in changes.items() if key in _attributes(part)}
        fields[name] = part(**{**_cut(part, vocabulary), **DIFFERENT.get(part.model_type, {}), **own})
    return cls(**fields)


def _parts(cls: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Configurations inside one, by the names they have there."""
    if not getattr(cls, "sub_configs", None):
        return {}
    whole = cls()
    found = {name: getattr(whole, name, None) for name in cls.sub_configs if name not in fields}
    return {name: type(part) for name, part in found.items() if part is not None}


def _cut(cls: Any, vocabulary: int) -> dict[str, Any]:
    """Arguments that make a configuration of this class small."""
    known = _attributes(cls)
    fields = {name: value for name, value in SMALL.items() if name in known}
    fields |= {name: vocabulary for name in VOCABULARIES if name in known}
    fields |= _layers(cls, known)
    if "kv_lora_rank" in known and "num_key_value_heads" in known:  # keys of all heads come out of one low rank
        fields["num_key_value_heads"] = fields["num_attention_heads"]
    return fields


def _layers(cls: Any, known: set[str]) -> dict[str, Any]:
    """As many layers as show each kind that the class has by default."""
    whole = cls()
    lists = {name: list(dict.fromkeys(getattr(whole, name, None) or ())) for name in KINDS if name in known}
    count = max([2, *map(len, lists.values())])
    found: dict[str, Any] = {name: (kinds + [kinds[-1]] * count)[:count] for name, kinds in lists.items() if kinds}
    return {**dict.fromkeys(DEPTHS & known, count), **found} if found else {}


def _attributes(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def make(kind: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Save a tiny model of this type with the tiny tokenizer."""
    make_tokenizer(folder, bos=True)
    if kind in NOT_BUILT:
        return _put_together(kind, folder)
    config_of(kind, 320, **changes).save_pretrained(folder)
    vocabulary = len(AutoTokenizer.from_pretrained(folder))  # some classes add tokens of their own
    model = build(kind, vocabulary, seed=seed, **changes)
    model.save_pretrained(folder)
    return folder


def _put_together(kind: str, folder: Path) -> Path:
    """A folder of a type that is not built here: its configuration beside weights of its text part."""
    text, changes = NOT_BUILT[kind]
    build(text, 320, **changes).save_pretrained(folder)
    own = {**config_of(text, 320, **changes).to_dict(), "num_kv_shared_layers": 2}
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    CONFIG_MAPPING[kind](text_config=own, architectures=[name]).save_pretrained(folder)
    return folder


def build(kind: str, vocabulary: int, *, seed: int = 0, **changes: Any) -> Any:
    """A tiny model of this type, of the class that its folders are saved from."""
    config = config_of(kind, vocabulary, **changes)
    if kind in MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES and config.is_encoder_decoder:
        auto: Any = AutoModelForTextToWaveform
    elif kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        auto = AutoModelForSeq2SeqLM
    else:
        auto = AutoModelForCausalLM if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModelForMaskedLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        return auto.from_config(config).eval()
