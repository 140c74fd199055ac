"""A random Llama and a byte-level BPE tokenizer, made on the fly, small enough to train and score for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TEXTS = [
    "Question: what is the capital of France? Answer: Paris",
    "Question: wie heißt die Hauptstadt von Österreich? Antwort: Wien",
    "Pregunta: ¿cuál es la capital de España? Respuesta: Madrid",
    "one two three four five six seven eight nine ten",
]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(folder: Path, *, bos: bool = True) -> int:
    """Save a byte-level BPE tokenizer into `folder`; returns its vocabulary's size. With `bos` it puts <s> first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def make_model(folder: Path, *, bos: bool = True, layers: int = 2, seed: int = 0, spread: float = 0.02) -> Path:
    """Save a Llama of a few ten thousand parameters with its tokenizer. With `bos` the tokenizer puts <s> first.

    `spread` is the standard deviation of its weights: at 0.2 its predictions differ clearly from one another.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = make_tokenizer(folder, bos=bos)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                initializer_range=spread,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=2,
            )
        )
    save_model(model, folder)
    return folder


def save_model(model: Any, folder: Path) -> None:
    """`model.save_pretrained`, which would load DeepSpeed to see whether the model is wrapped by it."""
    from accelerate.utils import other

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other, "is_deepspeed_available", lambda: False)
        model.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model whose tokenizer puts a BOS token first."""
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model_no_bos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without BOS."""
    return make_model(tmp_path_factory.mktemp("tiny_no_bos"), bos=False)
