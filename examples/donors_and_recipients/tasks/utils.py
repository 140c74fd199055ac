"""The rows of the published study's data as lm-eval reads the okapi sets, with what training texts need beside that.

Scored is what lm-eval's own functions make. An answer of ARC that is none of A to E is a hidden label here.
"""

import ast

from lm_eval.tasks.okapi.arc_multilingual.utils import preprocess
from lm_eval.tasks.okapi.hellaswag_multilingual.utils import process_docs as process_hellaswag
from lm_eval.tasks.okapi.truthfulqa_multilingual.utils import process_docs as _process_truthfulqa

__all__ = ["process_arc", "process_hellaswag", "process_original_truthfulqa", "process_truthfulqa"]


def process_arc(dataset):
    return dataset.map(_arc)


def _arc(row):
    options = [row.get(f"option_{letter}") for letter in "abcde"]
    return {
        "query": "Question: " + preprocess(row["instruction"]) + "\nAnswer:",
        "choices": [preprocess(option) for option in options if option],
        "gold": "ABCDE".find(row["answer"]) if row["answer"] else -1,
    }


def process_truthfulqa(dataset):
    """`asked` is the question as it stands, which lm-eval cleans; `learned` is the first choice labelled right."""
    return _process_truthfulqa(dataset.map(_learned))


def _learned(row):
    right = list(row["mc1_targets_labels"]).index(1)
    return {"asked": row["question"], "learned": row["mc1_targets_choices"][right]}


def process_original_truthfulqa(dataset):
    """`truth_id` is the row's number where the set has none; the English set has its targets in one column each."""
    if "truth_id" not in dataset.column_names:
        dataset = dataset.add_column("truth_id", list(range(len(dataset))))
    if "mc1_targets_choices" not in dataset.column_names:
        dataset = dataset.map(_targets)
    return process_truthfulqa(dataset)


def _targets(row):
    found = {}
    for name in ("mc1_targets", "mc2_targets"):
        targets = _value(ast.parse(row[name].strip(), mode="eval").body) if isinstance(row[name], str) else row[name]
        found |= {f"{name}_{part}": list(targets[part]) for part in ("choices", "labels")}
    return found


def _value(node):
    """What numpy and Python write of a value: of `array([…], dtype=…)` the list."""
    if isinstance(node, ast.Call):
        return _value(node.args[0])
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)
