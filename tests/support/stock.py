"""Rows in the fields of task files that lm-eval ships, whose own data are far away: random words where words stand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.evaluators.conftest import WORDS

Row = dict[str, Any]
SAID = (  # answers that are right of some rows, or nearly so
    "apple",
    "Paris is five",
    "the pear of Lima and a plum",
    "Lima",
    "so it is #### 1",
    "they are 2",
    "The answer is (B).",
    "joy: 3\ngrief: 2\nrage: 5\ncalm: 1",
)


class Draw(random.Random):
    """What fields hold."""

    def words(self, count: int = 5) -> str:
        return " ".join(self.choices(WORDS, k=count))

    def texts(self, count: int, words: int = 3) -> list[str]:
        """So many texts, each with its number behind, so that no two are one."""
        return [f"{self.words(self.randint(1, words))} {n}" for n in range(count)]

    def named(self, *fields: str) -> Row:
        return {field: self.words() for field in fields}

    def said(self, count: int) -> list[str]:
        """Some of what `SAID` says, so that a part of these answers is right."""
        return self.sample(SAID[:4], k=count)

    def below(self, count: int) -> int:
        return self.randrange(count)


SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Stock:
    """A file of lm-eval's, the row it asks for, the splits it names, and whether the model is to write."""

    file: str
    row: Callable[[Draw], Row]
    splits: tuple[str, ...] = SPLITS
    writes: bool = False


def _writes(file: str, row: Callable[[Draw], Row], splits: tuple[str, ...] = SPLITS) -> Stock:
    return Stock(file, row, splits, writes=True)


def _options(count: int, *fields: str, label: str = "label") -> Callable[[Draw], Row]:
    return lambda d: d.named(*fields) | {label: d.below(count)}


def _arc(d: Draw) -> Row:
    return d.named("question") | {"choices": {"text": d.texts(4), "label": list("ABCD")}, "answerKey": d.choice("ABCD")}


def _pair(d: Draw, asked: str, answered: str) -> Row:
    return {asked: d.words(), answered: d.said(1)[0]}


def _flores(d: Draw) -> Row:
    return _pair(d, "sentence_deu_Latn", "sentence_spa_Latn")


def _beliefs(d: Draw) -> Row:
    return {"question": d.words(), "correct_answers": d.said(2), "incorrect_answers": d.texts(2)}


def _date(d: Draw) -> Row:
    return {"input": d.words(9), "target": f"({d.choice('AB')})"}


def _truthful(d: Draw) -> Row:
    one, two = d.texts(4), d.texts(6)
    return d.named("question") | {
        "mc1_targets": {"choices": one, "labels": [1, 0, 0, 0]},
        "mc2_targets": {"choices": two, "labels": [1, 1, 1, 0, 0, 0]},
    }


def _drop(d: Draw) -> Row:
    day = {"day": "1", "month": "May", "year": "1999"}
    given = {"number": "5", "date": day, "spans": []}
    several = {"number": ["", "7"], "date": [day, day], "spans": [d.said(2), []]}
    return d.named("passage", "question", "query_id") | {"answer": given, "validated_answers": several}


def _squad(d: Draw) -> Row:
    return d.named("context", "question", "id") | {"answers": {"text": d.said(2), "answer_start": [0, 1]}}


def _feelings(d: Draw) -> Row:
    said = {f"emotion{n}": word for n, word in enumerate(("joy", "grief", "rage", "calm"), 1)}
    scores = {f"{name}_score": str(d.below(6)) for name in said}
    return d.named("prompt") | {"reference_answer_fullscale": str(said | scores)}


_SCIQ = ("distractor1", "distractor2", "distractor3", "correct_answer")


def _endings(d: Draw) -> Row:
    return d.named("ctx_a", "ctx_b", "activity_label") | {"endings": d.texts(4), "label": str(d.below(4))}


def _gap(d: Draw) -> Row:
    return {"sentence": f"{d.words()} _ {d.words()}", "option1": "Lima", "option2": "Paris", "answer": d.choice("12")}


def _cause(d: Draw) -> Row:
    return _options(2, "premise", "choice1", "choice2")(d) | {"question": d.choice(["cause", "effect"])}


def _story(d: Draw) -> Row:
    told = [f"input_sentence_{n}" for n in (1, 2, 3, 4)]
    return d.named(*told, "sentence_quiz1", "sentence_quiz2") | {"answer_right_ending": d.choice((1, 2))}


def _passage(d: Draw) -> Row:
    answers = [f"mc_answer{n}" for n in (1, 2, 3, 4)]
    return d.named("flores_passage", "question", *answers) | {"correct_answer_num": d.choice("1234")}


def _exam(d: Draw) -> Row:
    answers = {"answer_options": {"answer_str": d.texts(5)}, "correct_answer_id": d.choice("12345")}
    return d.named("document_str", "question_str") | answers


def _logic(d: Draw) -> Row:
    return d.named("context", "question") | {"options": d.texts(4), "label": d.choice("abcd")}


def _sum(d: Draw) -> Row:
    return {"context": f"Question: {d.words()}\nAnswer:", "completion": f" {d.below(9)}"}


def _wsc(d: Draw) -> Row:
    words = d.words(9).split()
    return {
        "text": " ".join(words),
        "span1_text": words[0],
        "span2_text": words[3],
        "span2_index": 3,
        "label": d.below(2),
    }


def _gsm(d: Draw) -> Row:
    number = str(1 + d.below(2))
    return {"question": d.words(8), "answer": f"{d.words()} #### {number}"}


def _mgsm(d: Draw) -> Row:
    return _gsm(d) | {"answer_number": 1 + d.below(2), "equation_solution": None}


def _text(d: Draw, field: str = "text") -> Row:
    return {field: d.words(d.choice((6, 40, 400)))}  # the last in several windows


STOCK = {
    # options: acc, acc_norm, mcc, f1, functions, several inputs
    "arc_challenge": Stock("arc/arc_challenge.yaml", _arc),
    "hellaswag": Stock("hellaswag/hellaswag.yaml", _endings),
    "piqa": Stock("piqa/piqa.yaml", _options(2, "goal", "sol1", "sol2")),
    "openbookqa": Stock("openbookqa/openbookqa.yaml", lambda d: _arc(d) | {"question_stem": d.words()}),
    "sciq": Stock("sciq/sciq.yaml", lambda d: d.named("question", "support", *_SCIQ)),
    "winogrande": Stock("winogrande/default.yaml", _gap),
    "boolq": Stock("super_glue/boolq/default.yaml", _options(2, "passage", "question")),
    "cb": Stock("super_glue/cb/default.yaml", _options(3, "premise", "hypothesis")),
    "copa": Stock("super_glue/copa/default.yaml", _cause),
    "multirc": Stock("super_glue/multirc/default.yaml", _options(2, "paragraph", "question", "answer")),
    "wsc": Stock("super_glue/wsc/default.yaml", _wsc),
    "cola": Stock("glue/cola/default.yaml", _options(2, "sentence")),
    "mrpc": Stock("glue/mrpc/default.yaml", _options(2, "sentence1", "sentence2")),
    "xnli_de": Stock("xnli/xnli_de.yaml", _options(3, "premise", "hypothesis")),
    "xcopa_it": Stock("xcopa/default_it.yaml", _cause),
    "xstorycloze_en": Stock("xstorycloze/default_en.yaml", _story, ("train", "eval")),
    "paws_de": Stock("paws-x/paws_de.yaml", _options(2, "sentence1", "sentence2")),
    "truthfulqa_mc1": Stock("truthfulqa/truthfulqa_mc1.yaml", _truthful),
    "truthfulqa_mc2": Stock("truthfulqa/truthfulqa_mc2.yaml", _truthful),
    "belebele_deu_Latn": Stock("belebele/belebele_deu_Latn.yaml", _passage),
    "kobest_boolq": Stock("kobest/kobest_boolq.yaml", _options(2, "paragraph", "question")),
    "blimp": Stock("blimp/anaphor_gender_agreement.yaml", lambda d: d.named("sentence_good", "sentence_bad")),
    "crows_pairs_english": Stock("crows_pairs/crows_pairs_english.yaml", lambda d: d.named("sent_more", "sent_less")),
    "qa4mre_2011": Stock("qa4mre/qa4mre_2011.yaml", _exam),
    "mc_taco": Stock("mc_taco/default.yaml", _options(2, "sentence", "question", "answer")),
    "ethics_cm": Stock("hendrycks_ethics/commonsense.yaml", _options(2, "input")),
    "webqs": Stock("webqs/webqs.yaml", lambda d: {"question": d.words(), "answers": d.texts(3)}),
    "anli_r1": Stock("anli/anli_r1.yaml", _options(3, "premise", "hypothesis"), ("train_r1", "dev_r1", "test_r1")),
    "logiqa": Stock("logiqa/logiqa.yaml", _logic),
    # a text that is rated
    "lambada_openai": Stock("lambada/lambada_openai.yaml", _text),
    "asdiv": Stock("asdiv/default.yaml", lambda d: d.named("body", "question") | {"answer": f"{d.below(30)} (apples)"}),
    "arithmetic_1dc": Stock("arithmetic/arithmetic_1dc.yaml", _sum),
    # whole documents
    "wikitext": Stock("wikitext/wikitext.yaml", lambda d: _text(d, "page")),
    "pile_arxiv": Stock("pile/pile_arxiv.yaml", _text),
    "c4": Stock("c4/c4.yaml", _text),
    # answers that are written
    "gsm8k": _writes("gsm8k/gsm8k.yaml", _gsm),
    "mgsm_direct_de": _writes("mgsm/direct/mgsm_direct_de.yaml", _mgsm),
    "triviaqa": _writes("triviaqa/default.yaml", lambda d: {"question": d.words(), "answer": {"aliases": d.said(3)}}),
    "nq_open": _writes("nq_open/nq_open.yaml", lambda d: {"question": d.words(), "answer": d.said(2)}),
    "drop": _writes("drop/default.yaml", _drop),
    "mlqa_de_de": _writes("mlqa/mlqa_de_de.yaml", _squad),
    "truthfulqa_gen": _writes("truthfulqa/truthfulqa_gen.yaml", _beliefs),
    "anagrams1": _writes("unscramble/anagrams1.yaml", lambda d: {"context": d.words(), "completion": d.said(1)[0]}),
    "babi": _writes("babi/babi.yaml", lambda d: d.named("passage", "question") | {"answer": d.said(1)[0]}),
    "eq_bench": _writes("eq_bench/default.yaml", _feelings),
    "bbh_date": _writes("bbh/cot_zeroshot/date_understanding.yaml", _date),
    "flores_de-es": _writes("spanish_bench/flores_es/flores_de-es.yaml", _flores, ("dev", "devtest")),
    "wmt16_de-en": _writes("translation/wmt16_de-en.yaml", lambda d: {"translation": _pair(d, "de", "en")}),
}  # fmt: skip
