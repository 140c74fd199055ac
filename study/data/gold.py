"""What is right of a document: one of its options, several, a text, or nothing that is told.

What is trained on and what is scored both ask here. The rule: a row whose label is hidden (-1 where there are options,
an empty text, an empty list) is left out, and the plan says how many are; any other answer that is no option, or that
is not there (null), refuses its cell with the row and the value. A task that judges by itself is taken at its word.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from study.cells import Cell
from study.data.group.document import asker
from study.data.harness import Document, Task
from study.errors import TaskError

HIDDEN = (-1, "-1")
_USE = {"train": "learn", "test": "score"}
_NAME = re.compile(r"[A-Za-z_]\w*")


class BadGold(Exception):
    """A document that does not say what is right of it; the message has the value and the fix."""


def right_options(task: Task, doc: Document) -> tuple[int, ...]:
    """Number the right options of a document with options: none where its label is hidden. Raises BadGold."""
    task, options = asker(task, doc), options_of(task, doc)
    given = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if _is_hidden(given, options):
        return ()
    several = isinstance(given, list | tuple)
    if several is not bool(task.multiple_target) and task.OUTPUT_TYPE == "multiple_choice":
        here, there = ("a list", "one answer") if several else ("one answer", "a list")
        raise BadGold(f"{given!r:.60} is {here} here and {there} in other rows: write lists in all, or in none")
    found = [number_of(one, options) for one in (given if isinstance(given, list | tuple) else [given])]
    return tuple(dict.fromkeys(found))


def right_text(task: Task, doc: Document, template: str | None) -> str | None:
    """Give the text to learn: of several right ones the first, None where the label is hidden. Raises BadGold.

    A `template` replaces the task's own, and need not give an option; the name of a column of the document's is that.
    A number of an option that stands as text in such a column is neither: it is refused.
    """
    task = asker(task, doc)
    options = options_of(task, doc) if task.config.doc_to_choice is not None else None
    judged = options is not None and _is_judged_by_option(task, template)
    if judged or task.multiple_input:
        found = right_options(task, doc)
        if not found or judged:
            return options[found[0]] if found and options else None
    given = _told_text(task, doc, template)
    if isinstance(given, list | tuple) and not given:
        return None
    _check_there(given, doc, lambda other: _told_text(task, other, template))
    if _is_hidden(given, options):
        return None
    if options is None or (isinstance(given, str) and not _numbers_one(given, options)):
        return str(given)
    return options[number_of(given, options)]


def _told_text(task: Task, doc: Document, template: str | None) -> object:
    """What a template, or the task's own, gives of a document; of several answers the first, or none where none is."""
    given: object
    if template is not None and template in doc:  # lm-eval knows the columns of what is scored, and no others
        given = doc[template]
    else:
        given = task.doc_to_target(doc) if template is None else task.doc_to_target(doc, template)
    return given[0] if isinstance(given, list | tuple) and given else given


def answer(task: Task, doc: Document) -> str:
    """What is right of a document, to tell documents apart; nothing where its task cannot say."""
    task = asker(task, doc)
    try:
        return str(task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc))
    except Exception:  # noqa: BLE001 - a template meets the data here: anything can be raised
        return ""


def right_answer(task: Task, doc: Document) -> str:
    """What is right of a document, as a text: of an option what it says. Nothing where its task cannot say."""
    try:
        return str(right_text(task, doc, None))
    except Exception:  # noqa: BLE001 - a template meets the data here: anything can be raised
        return answer(task, doc)


def is_told(task: Task, doc: Document) -> bool:
    """Whether a document that is to be scored says what is right of it. Raises BadGold."""
    task = asker(task, doc)
    if judges_itself(task):
        return True
    if task.OUTPUT_TYPE == "multiple_choice":
        told = bool(right_options(task, doc))
        if task.multiple_input:
            _check_text("doc_to_target", task.doc_to_target(doc))
        else:
            _check_text("doc_to_text", task.doc_to_text(doc))
        return told
    if task.OUTPUT_TYPE == "generate_until" and task.config.doc_to_choice is not None:
        return bool(right_options(task, doc))
    given = task.doc_to_target(doc)
    _check_there(given, doc, task.doc_to_target)
    if task.OUTPUT_TYPE != "generate_until":
        _check_text("doc_to_target", given)
    return task.OUTPUT_TYPE != "loglikelihood" or given != ""


def options_of(task: Task, doc: Document) -> list[str]:
    """List a document's options. Raises BadGold for those that are not a list of texts."""
    task = asker(task, doc)
    try:
        found: object = task.doc_to_choice(doc)
    except (SyntaxError, ValueError):  # lm-eval reads what a template writes as Python writes a list
        raise BadGold(
            "doc_to_choice writes no list of texts: name a column that holds one, or {{ a.split(',') }}"
        ) from None
    if isinstance(found, str) or not isinstance(found, Sequence) or not found:
        what = f"{'one text' if isinstance(found, str) else 'no list of texts'}, {_called(found)}"
        raise BadGold(f"doc_to_choice gives {what}: name a column that holds a list, or write {{{{ […] }}}}")
    for number, option in enumerate(found):
        _check_text(f"option {number}", option)
        if task.OUTPUT_TYPE == "multiple_choice" and not option and not task.config.target_delimiter:
            raise BadGold(f"option {number} is empty, so it has no log-likelihood: leave it out")
    return list(found)


def number_of(given: object, options: Sequence[str]) -> int:
    """Number an option that is named by its number, or by its text. Raises BadGold."""
    if isinstance(given, str) and given in options:
        return options.index(given)
    if not isinstance(given, str) and given is not None:
        try:
            number = operator.index(given)  # type: ignore[arg-type]  # raises for what is none
        except TypeError:
            number = -1
        if 0 <= number < len(options):
            return number
    which = f"none of its {len(options)} options ({_some(options)})"
    raise BadGold(f"the answer {_called(given)} is {which}{_hint(given, options)}")


def check_names(columns: Sequence[str], **templates: object) -> None:
    """Raise TaskError for a template that is a name of no column: lm-eval takes it for a text, the same in all rows."""
    for key, template in templates.items():
        if isinstance(template, str) and _NAME.fullmatch(template) and template not in columns:
            raise TaskError(
                f"{key}: {template!r} is no column of the data; columns are {', '.join(columns)}. "
                f"Name one of them, or, for a text that is the same in all rows, write {{{{ {template!r} }}}}"
            )


def writes_null(doc: Document, text: str) -> bool:
    """Whether a template seems to have written a null of its document: it becomes the word None."""
    return "None" in text and None in doc.values()


@contextmanager
def row(cell: Cell, split: str, number: int, doc: Document) -> Iterator[None]:
    """Within, what is raised over a document becomes a TaskError that names the cell, the row and its id."""
    try:
        yield
    except TaskError:
        raise
    except Exception as error:  # the task author's templates and functions: anything can be raised
        named = f" (id {doc['id']!r})" if "id" in doc else ""
        reason = str(error) if isinstance(error, BadGold) else f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise TaskError(f"{cell}: row {number}{named} to {_USE[split]}: {reason:.400}") from error


def _is_judged_by_option(task: Task, template: str | None) -> bool:
    own = template is None and not task.multiple_input
    return own and task.OUTPUT_TYPE == "multiple_choice" and not judges_itself(task)


def judges_itself(task: Task) -> bool:
    """Whether a task has a `process_results` of its own: a function in its YAML file, or a method of its class."""
    from lm_eval.api.task import ConfigurableTask  # slow to import, and there where there is a task

    if callable(task.config.process_results):
        return True
    return isinstance(task, ConfigurableTask) and type(task).process_results is not ConfigurableTask.process_results


def _numbers_one(given: str, options: Sequence[str]) -> bool:
    return given not in options and given.isdecimal() and int(given) < len(options)


def _is_hidden(given: object, options: Sequence[str] | None) -> bool:
    if options is None:
        return given == ""
    return given not in options and (given in ("", []) or given in HIDDEN)


def _hint(given: object, options: Sequence[str]) -> str:
    if isinstance(given, str) and _numbers_one(given, options):
        return ": for a number that stands as text write doc_to_target: '{{column}}'"
    if isinstance(given, float):
        return ": for a whole number write doc_to_target: '{{column | int}}'"
    letters = "ABCDEFGHIJ"[: len(options)]
    if isinstance(given, str) and given and given in letters:
        return f": for a letter write doc_to_target: \"{{{{'{letters}'.index(column)}}}}\""
    return ": mend the row, or doc_to_target; -1 or an empty text hides a label"


def _some(options: Sequence[str]) -> str:
    shown = [f"{option!r:.40}" for option in options[:4]]
    return ", ".join([*shown, "…"] if len(options) > 4 else shown)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise BadGold(f"{what} is {_called(value)}, not a text: mend the row, or the template")


def _check_there(given: object, doc: Document, ask: Callable[[Document], object]) -> None:
    """Raise BadGold for an answer that is null, or that a template wrote of a null: then another word is another."""
    written = given == "None" and None in doc.values()
    if written:
        written = ask({key: "-" if value is None else value for key, value in doc.items()}) != "None"
    if given is None or written:
        raise BadGold("the answer is null: mend the row; an empty text hides a label")


def _called(value: object) -> str:
    return "null" if value is None else f"{value!r:.60}"
