"""The outcomes of the walks as a page: what works, what is refused and in which words.

python -m tests.zoo.table TYPES.jsonl KINDS.jsonl [PAGE.md]     ends with 1 where anything is wrong or a bug
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from tests.support import peft_zoo, zoo
from tests.zoo.lm_eval import WHY
from tests.zoo.outcome import Outcome, Step, read

TYPE_COLUMNS = ("base", "trained", "gang", "loads in PEFT", "adapter")
KIND_COLUMNS = ("32 itself", "32 next", "32 base", "32 banked", "b16 itself", "b16 next", "b16 base", "b16 banked")
OPENING = f"""# Models and adapters

Which models can be studied and which adapters can be scored, as found by trying every one of them: a tiny random model
of each type that transformers {version("transformers")} calls a causal language model, and an adapter of each kind that
PEFT {version("peft")} knows, on four bases. `make test-models` does it again and writes this page. Nothing here is a
list in the program: it looks at the model and the adapter themselves (what it does there: [below](#what-is-looked-at)).

“right” means within 0.001 nats of lm-eval {version("lm-eval")} with PEFT on an option's log-likelihood; in bfloat16
within 0.5 nats of PEFT in bfloat16, or on Mixtral, where rounding chooses other experts, within 0.25 at the median.
“refused” means that nothing is trained or scored, and the words say why. Where lm-eval fails or differs from PEFT
itself, PEFT counts, and the words say so, and why: lm-eval's habit that the words name comes to lm-eval's numbers.

## Types of models

`base`: a multiple-choice task scored as lm-eval does. `trained`: two adapters in one gang, `modules: all-linear`.
`gang`: each says what it says when it is trained alone, and its matrices are the same within 1% of their length where
training has moved them (beside others numbers are added up in another order, and where a gradient is nothing but
rounding, as of BLT's attention to one patch, Adam makes steps of it). `loads in PEFT`: the trained folder computes in
PEFT what it did in training. `adapter`: it is scored as lm-eval does.
"""
LOOKED_AT = """
## What is looked at

- **A base** is run on a few tokens when it is loaded: later tokens must not move earlier logits, nor other rows of a
  batch those of a row. Its folder must have all its weights. Types that are causal only where `config.json` says so
  (BERT's family, XLM) or never (XLNet, CPM-Ant) are refused while the study is planned.
- **A recipe's modules** are what PEFT makes of the names. `all-linear` means what it means in PEFT, without what
  cannot be told to PEFT by any names, without what PEFT refuses, and without experts that one parameter holds
  together; what is left out is said in the terminal, in `record.json` (`left_out`) and in the report.
- **Before training** an adapter with random weights, strong enough for a difference to show, is written, loaded by
  PEFT and compared with what training computes, beside a row of the base's alone. With ZeRO 3 neither this nor the look
  at the base is done: weights are spread over the processes, and only names are looked at. Scoring then finds what is
  wrong, after the training.
- **Before scoring** an adapter is put on in two ways, ours and PEFT's; where they differ, PEFT's modules compute. One
  that does too little to tell settles nothing: another of its shape with random weights is asked. An adapter under
  which a text's score hangs on the texts beside it is refused.
- **Options share a prompt** where that was tried on the longest items of the target whose options branch.
- **Texts share a batch** on one side of the length at which LongRoPE takes other factors alone; prompts to be answered
  where one that is filled up on the left is answered as alone (rwkv's and deepseek_v4's are not).
- **After scoring** the base must be what was loaded, bit for bit; if not, it is loaded again and the batch is scored
  again.

## Choices

- *A vocabulary that is padded beyond the tokenizer*: probabilities are over all that the model computes, for the base
  and for adapters alike, as in training. lm-eval cuts the padding off where it is given an adapter, and there only:
  that is all its difference on the types of which it is said above.
- *Weights that an adapter has parted*: tied embeddings with `modules_to_save`, and layers that share a matrix (Zamba),
  have matrices of their own each, as PEFT has trained them. lm-eval ties them again after it has put the adapter on,
  so that one takes the place of the other: that is all its difference there.
- *Adapters of single experts*, as PEFT wrote them when each was a module, are put together for the parameter that holds
  all experts of a layer now: by PEFT, which asks for them on Mixtral, Qwen3-MoE and some more, and on Qwen2-MoE by us,
  where PEFT 0.21 leaves them out (2.3 nats). Both equal what each expert computes with its own matrices. With
  `use_rslora` they are refused: PEFT doubles rank and alpha of two matrices that it puts together, which is right for
  alpha / rank, and √2 too much for alpha / √rank.
- *Tensors whose names do not begin with `base_model.`* are refused: PEFT would leave them out without a word.
- *A language model within another* (`language_model`): an adapter of the whole is scored on that language model alone,
  and the reverse, under the names that PEFT would have given there, wherever libraries of its time had put that word.
  What it has beside the language model (in towers for images) is left out there, for no text comes by: the plan (of
  `--dry-run` too), the store's `study.yaml` and the report say of which parts and how many tensors. Where names do not
  tell one module from another, or what lies beside (as in adapters of the first Qwen2-VL), it is refused, where that
  can be seen while the study is planned.
- *Experts in bfloat16*: where two experts weigh almost the same, rounding chooses, and a choice is worth tenths of a
  nat on a tiny model. On a Qwen3-MoE of random weights PEFT was up to 0.43 nats from float32 on the same weights (0.04
  at the median of 16 options), lm-eval up to 0.67 (0.10), ours alone 0.43 (0.04) and in a bank 0.55 (0.04). In float32
  ours in a bank and PEFT are the same.
- *Starts that change the base* (PiSSA, OLoRA) are repeated on the base, as PEFT does; those that come to something
  else each time (`pissa_niter_…`, LoftQ, CorDA) are refused.
- *Prompt, prefix and P-tuning* are run by PEFT's forward, row by row and without a bank. Their vectors take room of the
  text: one that is too long with them is cut from the left, as lm-eval does when it is told `max_length`, the model's
  less `num_virtual_tokens`; by default lm-eval reads more than the model's length there. Answers are written one at a
  time (`batch_size=1`): PEFT does not count positions in rows that are filled up.
- *Tokens of an adapter's own*: where its embedding or head has more or fewer rows than the base's, texts are read with
  the tokenizer in its folder, as by lm-eval with `tokenizer=` and `peft=` that folder. There must be `tokenizer.json`,
  and in safetensors both whole, or one where they are tied. Any other adapter is read with the base's tokenizer,
  whatever lies beside it.
- *`adapter_model.bin`* is read with `weights_only=True`, and stands in the store as safetensors.
"""


def cell(step: Step | None) -> str:
    if step is None:
        return "–"
    if step.outcome == "wrong":
        return f"**wrong by {step.off:.2g}**"
    return {"right": "right", "refused": "refused", "crashed": "**crashed**"}[step.outcome]


def words(found: Outcome) -> str:
    """What was said first where it did not go through, and where lm-eval says other than PEFT."""
    said = [step.words for step in found.steps.values() if step.words and step.outcome == "refused"][:1]
    theirs = found.steps.get("lm-eval")
    if theirs is not None and theirs.outcome == "wrong":
        why = found.steps.get(WHY)
        said.append(f"lm-eval is {theirs.off:.2g} nats from PEFT: {why.words if why else 'nobody knows why'}")
    if theirs is not None and theirs.outcome == "crashed" and not said:
        said.append(f"lm-eval fails: {theirs.words}")
    short = re.sub(r"/\S*/(model|adapter|store|trained)\S*", r"…/\1", "; ".join(said))
    short = re.sub(r" \(\w+\.py:\d+\)|models(\[0\]\.id)? = '…/model'? |(?<= )fix: .*", "", short).rstrip()
    return short.replace("|", "\\|").replace("<", "‹").replace(">", "›")[:200]


def troubles(outcomes: Iterable[Outcome], columns: tuple[str, ...]) -> Iterator[str]:
    """What is wrong or a bug of ours."""
    for found in outcomes:
        for name in (*columns, "planned", "identity", "process", WHY):
            step = found.steps.get(name)
            if step is not None and step.outcome in ("wrong", "crashed"):
                yield f"{found.name}: {name}: {step.outcome} {step.off or ''} {step.words}"


def rows(outcomes: Iterable[Outcome], columns: tuple[str, ...]) -> Iterator[str]:
    for found in outcomes:
        made = found.steps.get("made")
        if made is not None and made.outcome != "right":
            empty = " | ".join("–" for _ in columns)
            yield f"| {found.name} | {empty} | PEFT does not make it |"
            continue
        yield f"| {found.name} | " + " | ".join(cell(found.steps.get(c)) for c in columns) + f" | {words(found)} |"


def head(first: str, columns: tuple[str, ...]) -> Iterator[str]:
    yield f"| {first} | " + " | ".join(columns) + " | words |"
    yield "|---" * (len(columns) + 2) + "|"


def page(types: dict[str, Outcome], kinds: dict[str, Outcome]) -> Iterator[str]:
    yield OPENING
    yield from head("type", TYPE_COLUMNS)
    yield from rows((types[kind] for kind in sorted(zoo.TYPES) if kind in types), TYPE_COLUMNS)
    yield "\n## Kinds of adapters\n"
    yield "Each between two plain ones on one evaluator, in float32 (`32`) and bfloat16 (`b16`): `itself`, the `next`"
    yield "adapter, the `base` after it, and all three adapters in one call in which they may share batches (`banked`)."
    for base in peft_zoo.PLACES:
        own = [one for name, one in kinds.items() if name.startswith(f"{base}: ")]
        if own:
            yield f"\n### {base}\n"
            yield from head("kind", KIND_COLUMNS)
            yield from rows((Outcome(one.name.partition(": ")[2], one.steps) for one in own), KIND_COLUMNS)
    yield LOOKED_AT


def main() -> None:
    types, kinds = (read(Path(name)) for name in sys.argv[1:3])
    found = [*troubles(types.values(), TYPE_COLUMNS), *troubles(kinds.values(), KIND_COLUMNS)]
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text("\n".join(page(types, kinds)), encoding="utf-8")
    print("\n".join(found) or f"{len(types)} types, {len(kinds)} kinds: nothing wrong")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
