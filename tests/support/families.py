"""Tiny random stand-ins for the published study's three families, with the special-token rules of their tokenizers.

Llama 3 puts BOS first and has no token to pad with; Qwen 2.5 has no BOS; Gemma 3 puts BOS first, pads on the left, and
writes a space as a mark of its own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from tests.support.published import WORDS
from tests.support.tiny_models import CHAT_TEMPLATE, save_model

SPECIAL = {
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "pad_token": "<pad>"},
}
CONFIGS = {"llama": LlamaConfig, "qwen": Qwen2Config, "gemma": Gemma3TextConfig}
TEXTS = [*WORDS.values(), "Question: Answer:\nA) B) C) D)\nA. B. C. D.\nAnswer: A Answer: B Answer: C Answer: D"]


def make_family(family: str, folder: Path) -> Path:
    """Save a stand-in of `llama`, `qwen` or `gemma`, with its tokenizer."""
    tokenizer = make_tokenizer(family)
    tokenizer.save_pretrained(folder)
    config = CONFIGS[family](
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(len(family))
        save_model(AutoModelForCausalLM.from_config(config), folder)
    return folder


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    special = SPECIAL[family]
    tokenizer = Tokenizer(models.BPE(byte_fallback=family == "gemma"))
    if family == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        initial, reserved = [], [*special.values(), *(f"<0x{byte:02X}>" for byte in range(256))]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        initial, reserved = pre_tokenizers.ByteLevel.alphabet(), list(special.values())
    trainer = trainers.BpeTrainer(
        vocab_size=len(reserved) + 500, special_tokens=reserved, initial_alphabet=initial, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    if bos := special.get("bos_token"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    side = "left" if family == "gemma" else "right"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side=side, **special)
    fast.chat_template = CHAT_TEMPLATE
    return fast
