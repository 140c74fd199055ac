"""Train polyglot-nano, the quickstart's base model: `python -m examples.quickstart.build.pretrain`.

A Llama of 2.4 million parameters and a byte-level BPE tokenizer, both from scratch on `corpus.py`, so
that a whole transfer study runs offline on a laptop. It needs Django (for text; `pip install django`) besides the
project's packages. Seeded; the numbers of threads and the processor change the last digits of its weights, not
what it can do. About 14 minutes of one core.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.quickstart.build.corpus import documents

OUT = Path(__file__).resolve().parents[1] / "polyglot-nano"
SEED = 20
VOCABULARY = 4096
SHAPE = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "intermediate_size": 512,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
STEPS, ROWS, WIDTH = 1400, 28, 96  # optimiser steps, rows per step, tokens per row
LR_MATRICES, LR_REST, WARMUP = 0.02, 4e-3, 40
SAVE_EVERY = 200


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE; digits one by one, so that a number is spelled from its parts; `<s>` is put in front."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            # emoji and dingbats stand alone, also where a script writes no spaces
            pre_tokenizers.Split(Regex("[\\x{2600}-\\x{27bf}\\x{1f000}-\\x{1faff}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(islice(documents(SEED + 1), 60_000), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=SHAPE["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )


def batches(tokenizer: PreTrainedTokenizerFast) -> Iterator[torch.Tensor]:
    """Documents end to end, cut into rows: int64 [ROWS, WIDTH]. A row starts wherever the cut falls."""
    stream, need, buffer = documents(SEED), ROWS * WIDTH, []
    while True:
        while len(buffer) < need:
            for ids in tokenizer(list(islice(stream, 2000)))["input_ids"]:
                buffer += [*ids, tokenizer.eos_token_id]
        yield torch.tensor(buffer[:need]).view(ROWS, WIDTH)
        buffer = buffer[need:]


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=LR_MATRICES, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=LR_REST, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def schedule(step: int, steps: int) -> float:
    """Warm-up, plateau, and a linear fall to zero over the last half."""
    return min(1.0, (step + 1) / WARMUP, (steps - step) / (0.5 * steps))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Weights in bf16 and the tokenizer, as `from_pretrained` reads them."""
    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)


def train(tokenizer: PreTrainedTokenizerFast, steps: int, out: Path) -> LlamaForCausalLM:
    """Train for `steps` steps; every SAVE_EVERY steps, and at the end, the model is written to `out`."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPE,
    )
    model = LlamaForCausalLM(config)
    opts = optimizers(model)
    scale = torch.optim.lr_scheduler.LambdaLR
    schedulers = [scale(opt, lambda step: schedule(step, steps)) for opt in opts]
    print(f"{model.num_parameters() / 1e6:.2f} M parameters, {steps * ROWS * WIDTH / 1e6:.1f} M tokens", flush=True)
    start, mean = time.perf_counter(), 0.0
    for step, ids in enumerate(islice(batches(tokenizer), steps)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, scheduler in zip(opts, schedulers, strict=True):
            opt.step()
            scheduler.step()
            opt.zero_grad()
        mean = loss.item() if step == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 49 or step + 1 == steps:
            print(f"step {step + 1}  loss {mean:.3f}  {time.perf_counter() - start:.0f} s", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(model, tokenizer, out)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(build_tokenizer(), args.steps, args.out)


if __name__ == "__main__":
    main()
