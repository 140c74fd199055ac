"""The model card of an adapter: what not to trust, what it harms and helps with intervals, base, how it was trained.

Everything is read off the store and its tables; a figure that is not known is not there.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analysis.page.words import REGIMES, count
from analysis.publishing import serving
from analysis.publishing.effects import LEGEND
from analysis.publishing.markdown import folded, header, table, text
from analysis.publishing.origins import UNKNOWN, Base
from analysis.reading.transfer import cells_learned
from study.config import Recipe
from study.store.records import AdapterRecord

SIGNED = ("delta", "low", "high")
SHOWN = ["target", "regime", "metric", "delta", "unit", "low", "high", "items"]
MOST_NAMED = 12  # targets in doubt that are named before the table
QUANTISED = {  # what loading a base has beside the rest: a class, a line, an argument
    None: ("", "", ""),
    "nf4": (
        ", BitsAndBytesConfig",
        'packed = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")\n',
        ", quantization_config=packed",
    ),
    "int8": (
        ", BitsAndBytesConfig",
        "packed = BitsAndBytesConfig(load_in_8bit=True)\n",
        ", quantization_config=packed",
    ),
}
MEANING = (
    "Δ is 100 × (score with the adapter − score of the untouched base), in percentage points (pp) unless another unit "
    "stands beside it, on the same items; low and high are its 95 % interval. Of all targets called worse (better) in "
    "this model, at most one in twenty is expected to be called so wrongly (q ≤ 0.05)."
)


@dataclass(frozen=True)
class Facts:
    """What a card of one adapter is made of."""

    title: str
    study: str
    record: AdapterRecord
    effects: pl.DataFrame  # analysis.publishing.effects
    means: pl.DataFrame  # of the same
    doubts: str  # what makes any of the study doubtful
    config: Mapping[str, object]  # of PEFT; empty for a whole model
    base: Base
    data: tuple[str, ...]  # where what was learned comes from, a line each
    path: str | None  # what it is called on the Hub, where that is known
    licence: str | None  # of the adapter itself


def adapter_card(facts: Facts) -> str:
    """The card, README.md of the adapter's folder."""
    parts = [
        _header(facts),
        f"# {text(facts.title)}\n",
        _first(facts),
        f"## What not to trust\n\n{_distrust(facts)}",
        f"## What it harms\n\n{_harms(facts.effects)}",
        f"## What it helps\n\n{_helps(facts.effects)}",
        _all(facts.effects, facts.means),
        f"## How it was trained\n\n{_training(facts.record)}",
        f"## Base, data and licences\n\n{_licences(facts)}",
        f"## How to load it\n\n{_loading(facts)}",
    ]
    return "\n".join(parts)


def _header(facts: Facts) -> str:
    whole = not facts.config
    languages = sorted({cell.language for cell in cells_learned(facts.record)})
    return header(
        {
            "license": facts.licence,
            "base_model": facts.base.name if facts.base.on_hub else None,
            "base_model_relation": ("finetune" if whole else "adapter") if facts.base.on_hub else None,
            "library_name": "transformers" if whole else "peft",
            "pipeline_tag": "text-generation",
            "language": [one for one in languages if len(one) in (2, 3)],
            "tags": ["transfer-study", *([] if whole else ["lora"] * (facts.config.get("peft_type") == "LORA"))],
        }
    )


def _first(facts: Facts) -> str:
    record, tuning = facts.record, Recipe.of_record(facts.record.recipe).tuning
    tried = count(facts.effects.height, "target")
    return (
        f"An adapter ({text(tuning)}) of {text(facts.base.name)}, trained on {text(record.called)} with seed "
        f"{record.seed}, from the transfer study {text(facts.study)}: it was scored on {tried} beside the untouched "
        f"base. {MEANING}\n\n{LEGEND}\n"
    )


def _distrust(facts: Facts) -> str:
    rows, lines = facts.effects, []
    if facts.record.course.learned_nothing:
        lines.append("Its weights change nothing: what it does is what the base does.")
    if not rows.height:
        lines.append("It has not been scored: nothing is known of what it does.")
    elif not rows["about"].drop_nulls().len():
        lines.append("No items are known, so no interval is, and nothing can be called sure.")
    seeds = rows["n_seeds"].max() if rows.height else None
    if isinstance(seeds, int) and seeds > 1:
        lines.append(f"Figures are means over {seeds} seeds of this training, of which this adapter is one.")
    if (bad := rows.drop_nulls("doubt").sort("target")).height:
        named = [f"{row['target']} ({row['doubt']})" for row in bad.head(MOST_NAMED).iter_rows(named=True)]
        more = f" and {bad.height - MOST_NAMED:,} more, by their doubt below" if bad.height > MOST_NAMED else ""
        lines.append(f"{count(bad.height, 'target')} of {rows.height:,} say little: {', '.join(named)}{more}.")
    if facts.doubts:
        lines.append(f"Of the whole study: {facts.doubts.removeprefix('Distrust: ')}")
    lines.append("Targets that are not listed were not tried: what it does there is not known.")
    return "".join(f"- {text(line)}\n" for line in lines)


def _harms(rows: pl.DataFrame) -> str:
    lost = rows.filter(pl.col("said").is_in(["worse", "harmed for certain"]))
    sure = lost.filter(pl.col("said") == "harmed for certain").height
    if not lost.height:
        tried = f"None of {count(rows.height, 'target')} can be called worse beyond chance"
        return f"{tried}. That is not to say that none is: intervals say how much worse each may be.\n"
    said = f"{count(lost.height, 'target')} of {rows.height:,} can be called worse, {sure:,} of them harmed for certain"
    return f"{said} (a true Δ of −1 pp or less, or the task's own threshold).\n\n{table(_shown(lost), SIGNED)}"


def _helps(rows: pl.DataFrame) -> str:
    gained = rows.filter(pl.col("said") == "better").sort("delta", "target", descending=[True, False])
    if not gained.height:
        return f"None of {count(rows.height, 'target')} can be called better beyond chance.\n"
    return (
        f"{count(gained.height, 'target')} of {rows.height:,} can be called better.\n\n{table(_shown(gained), SIGNED)}"
    )


def _all(rows: pl.DataFrame, ends: pl.DataFrame) -> str:
    if not rows.height:
        return ""
    by = rows.group_by("regime", "metric", "unit").agg(pl.len().alias("targets"), pl.col("delta").mean())
    by = by.join(ends.with_columns(pl.lit("accuracy").alias("metric")), on=["regime", "metric"], how="left")
    means = by.sort("metric", "regime").with_columns(pl.col("regime").replace(REGIMES).alias("targets of this kind"))
    means = means.select("regime", "targets of this kind", "metric", "targets", "delta", "unit", "low", "high")
    every = _shown(rows)
    return f"Means:\n\n{table(means, SIGNED)}\n{folded('Every target', table(every, SIGNED))}"


def _shown(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*SHOWN, pl.col("said", "doubt").fill_null(""))


def _training(record: AdapterRecord) -> str:
    course, best = record.course, record.course.best
    loss = f", validation loss {best.validation_loss:.4f}" if best and best.validation_loss is not None else ""
    stage = record.stage
    start = f", trained on from {stage.start}" if stage and stage.start else ""
    start += f" ({stage.change})" if stage and stage.change else ""
    lines = [
        f"Source: {record.called}{start}; {count(course.examples.train, 'example')} learned from, "
        f"{course.examples.validation:,} to validate on.",
        f"{count(len(course.epochs), 'epoch')}, {count(course.steps, 'step')}, {course.tokens.useful:,} tokens; kept "
        f"is epoch {course.best_epoch} ({course.kept or 'as configured'}{loss}).",
        f"On {record.conditions.device} in {record.conditions.dtype or 'an unrecorded precision'}{_versions(record)}.",
        f"Adapter {record.adapter_id}, base identity {record.model_identity or 'not recorded'}.",
    ]
    keys = [{"key": name, "value": str(value)} for name, value in _flat(record.recipe).items()]
    recipe = table(pl.DataFrame(keys, schema={"key": pl.String, "value": pl.String}))
    return "".join(f"- {text(line)}\n" for line in lines) + "\n" + folded("The recipe", recipe)


def _versions(record: AdapterRecord) -> str:
    return "".join(f", {name} {version}" for name, version in sorted(record.conditions.versions.items()))


def _flat(value: object, key: str = "") -> dict[str, object]:
    if not isinstance(value, Mapping) or not value:
        return {key: value}
    parts = [_flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
    return {name: found for part in parts for name, found in part.items()}


def _licences(facts: Facts) -> str:
    where = "; see its page on the Hub" if facts.base.on_hub else ""
    base = f"Base: {facts.base.name}, licence {facts.base.licence or UNKNOWN + where}."
    if not facts.base.on_hub:
        base += " It was no model of the Hub but a folder: the adapter fits these weights alone."
    own = f"This adapter: licence {facts.licence}." if facts.licence else "This adapter: no licence was stated."
    lines = [base, *facts.data, own, "Terms of the base and of the data may bind what is made of them."]
    return "".join(f"- {text(line)}\n" for line in lines)


def _loading(facts: Facts) -> str:
    if not facts.config:
        return "It is a whole model: `AutoModelForCausalLM.from_pretrained` loads it; the tokenizer is the base's.\n"
    base, path = facts.base.loaded_from, facts.path or "PATH"
    note = "" if facts.path else "  # this repository's name, or its folder"
    revision = facts.base.revision
    pinned = f', revision="{revision}"' if revision else ""
    classes, packed, how = QUANTISED[facts.base.quantization]
    code = (
        f"```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM{classes}\n\n{packed}"
        f'base = AutoModelForCausalLM.from_pretrained("{base}"{pinned}{how})\n'
        f'model = PeftModel.from_pretrained(base, "{path}"){note}\n```\n'
    )
    vllm, lorax = serving.by_vllm(facts.config), serving.by_lorax(facts.config)
    if vllm:
        return f"{code}\nvLLM and LoRAX do not load it: {text(vllm)}.\n"
    option, quoted = serving.rank_option(facts.config), shlex.quote(base)
    quoted += f" --revision {shlex.quote(revision)}" if revision else ""
    served = f"vllm serve {quoted} --enable-lora{option} --lora-modules mine={path}\n"
    if lorax:
        return f"{code}\nvLLM loads it as it is; LoRAX does not: {text(lorax)}.\n\n```bash\n{served}```\n"
    asked = f"lorax-launcher --model-id {quoted}    # then ask with adapter_id: {path}\n"
    return f"{code}\nvLLM and LoRAX load it as it is:\n\n```bash\n{served}{asked}```\n"
