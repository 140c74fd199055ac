"""Tiny random stand-ins for the published study's three families, with the special-token rules of their tokenizers.

Llama 3 puts BOS first and has no token to pad with; Qwen 2.5 has no BOS; Gemma 3 puts BOS first, pads on the left, and
writes a space as a mark of its own. `make_nine` makes the study's nine models by their own names, whose chat templates
begin as the true ones do: Llama's and Gemma's write BOS themselves, Qwen's has a system's turn of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from lm_eval.tasks.okapi.truthfulqa_multilingual.utils import QA_PROMPT
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from tests.support import zoo
from tests.support.published import WORDS
from tests.support.tiny_models import CHAT_TEMPLATE, save_model

SPECIAL = {
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "pad_token": "<pad>"},
}
CONFIGS = {"llama": LlamaConfig, "qwen": Qwen2Config, "gemma": Gemma3TextConfig}
TURNS = {  # what begins a turn, what ends it, and what stands before the first
    "llama": ("<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n", "<|eot_id|>", "{{ bos_token }}"),
    "qwen": (
        "<|im_start|>{{ m['role'] }}\n",
        "<|im_end|>\n",
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n",
    ),
    "gemma": ("<start_of_turn>{{ m['role'] }}\n", "<end_of_turn>\n", "{{ bos_token }}"),
}
MARKS = {
    "llama": ["<|start_header_id|>", "<|end_header_id|>"],
    "qwen": ["<|im_start|>"],
    "gemma": ["<start_of_turn>"],
}
NINE = {  # family, and whether its head is its embedding, by name
    "meta-llama/Llama-3.2-1B-Instruct": ("llama", True),
    "meta-llama/Llama-3.2-3B-Instruct": ("llama", True),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", False),
    "Qwen/Qwen2.5-0.5B-Instruct": ("qwen", True),
    "Qwen/Qwen2.5-1.5B-Instruct": ("qwen", True),
    "Qwen/Qwen2.5-3B-Instruct": ("qwen", True),
    "Qwen/Qwen2.5-7B-Instruct": ("qwen", False),
    "google/gemma-3-1b-it": ("gemma", True),
    "google/gemma-3-4b-it": ("gemma", True),
}
WITH_EYES = "google/gemma-3-4b-it"  # has a vision tower
TEXTS = [*WORDS.values(), "Question: Answer:\nA) B) C) D)\nA. B. C. D.\nAnswer: A Answer: B Answer: C Answer: D"]


def make_family(family: str, folder: Path) -> Path:
    """Save a stand-in of `llama`, `qwen` or `gemma`, with its tokenizer."""
    return _save(family, make_tokenizer(family), folder, len(family), {})


def make_nine(home: Path) -> Path:
    """Save a stand-in for each of the study's models below `home`, in a folder of its id."""
    for seed, (name, (family, tied)) in enumerate(NINE.items()):
        tokenizer = make_tokenizer(family, [*TEXTS, QA_PROMPT], 1500)  # so that what is scored is not long
        tokenizer.add_special_tokens({"additional_special_tokens": MARKS[family]})
        begin, end, first = TURNS[family]
        turns = f"{{% for m in messages %}}{begin}{{{{ m['content'] }}}}{end}{{% endfor %}}"
        asked = begin.replace("{{ m['role'] }}", "model" if family == "gemma" else "assistant")
        tokenizer.chat_template = f"{first}{turns}{{% if add_generation_prompt %}}{asked}{{% endif %}}"
        if name == WITH_EYES:
            tokenizer.save_pretrained(home / name)
            save_model(zoo.build("gemma3", len(tokenizer), seed=seed, max_position_embeddings=1024), home / name)
        else:
            _save(family, tokenizer, home / name, seed, {"tie_word_embeddings": tied})
    return home


def _save(family: str, tokenizer: PreTrainedTokenizerFast, folder: Path, seed: int, more: dict[str, object]) -> Path:
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
        **more,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_model(AutoModelForCausalLM.from_config(config), folder)
    return folder


def make_tokenizer(family: str, texts: Sequence[str] = TEXTS, size: int = 500) -> PreTrainedTokenizerFast:
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
        vocab_size=len(reserved) + size, special_tokens=reserved, initial_alphabet=initial, show_progress=False
    )
    tokenizer.train_from_iterator([*texts] * 3, trainer)
    if bos := special.get("bos_token"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    side = "left" if family == "gemma" else "right"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side=side, **special)
    fast.chat_template = CHAT_TEMPLATE
    return fast
