"""Other studies beside this one: which of their recipes, under which names, and the tables of all on one page.

Invariant: nothing is set beside a study that is not named. A recipe is set beside that of its name, a study without
recipes beside each recipe of another. Of several, every table says in its first column what this study is set beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from analysis.page import html
from analysis.reading.study import Study
from analysis.tables import compare, pairs
from analysis.tables.known import not_comparable
from analysis.tables.registry import Made, make, make_all, together
from study.errors import ConfigError

OTHER_WORDS = {"other": "the study or recipe that this one is set beside"}
FOLDED = ("compare_roles", "compare_transfer")  # long ones


@dataclass(frozen=True)
class Beside:
    """Tables by name, and what to know before they are read."""

    made: dict[str, Made] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


NOTHING = Beside()


def beside(study: Study, others: Sequence[Study]) -> Beside:
    """What there is to say of a study, or a recipe, beside others. ConfigError for one named twice, or for itself."""
    if not others:
        return NOTHING
    found, lacking = _named(study, others), tuple(_lacking(study, others))
    if not found:
        return Beside({table.name: Made(table, None, lacking[0]) for table in compare.TABLES}, lacking)
    each = {name: make_all(compare.TABLES, (study, other)) for name, other in found.items()}
    notes = {note: None for other in found.values() if (note := not_comparable((study, other)))}
    if len(others) == 1 and (study.recipe is not None or others[0].across is None):
        return Beside(next(iter(each.values())), (*notes, *lacking))
    several = {called(study): study, **found}
    made = {table.name: make(table, several) for table in pairs.TABLES} if len(several) > 2 else {}
    return Beside(made | together(each, OTHER_WORDS), (*notes, *lacking))


def called(study: Study) -> str:
    return f"{study.name}, recipe {study.recipe}" if study.recipe else study.name


def _named(study: Study, others: Sequence[Study]) -> dict[str, Study]:
    """What the study is set beside, by names of which none is another's."""
    found: dict[str, Study] = {}
    for one in (one for other in others for one in _parts(study, other)):
        if (one.origin, one.recipe) == (study.origin, study.recipe):
            fix = "name another store, or another of its recipes: STORE#RECIPE"
            raise ConfigError("--compare", one.origin, "is the study itself", fix)
        if any((one.origin, one.recipe) == (known.origin, known.recipe) for known in found.values()):
            raise ConfigError("--compare", one.origin, "is named twice", "name it once")
        name = called(one)
        found[f"{name} ({one.origin})" if name in found or name == called(study) else name] = one
    return found


def _parts(study: Study, other: Study) -> list[Study]:
    """The recipe of its name, each of them beside a study that has none, or all where there is but one."""
    if other.across is None:  # a recipe of this study may be set beside the others, on their pages
        own_page = study.across is not None and (other.origin, other.recipe) == (study.origin, study.recipe)
        return [] if own_page else [other]
    if study.recipe is None:
        return list(other.across.studies.values())
    return [other.across.studies[study.recipe]] if study.recipe in other.across.studies else []


def _lacking(study: Study, others: Sequence[Study]) -> Iterator[str]:
    for other in (one for one in others if not _parts(study, one)):
        if other.across is None:
            yield f"This is {called(other)} itself."
        else:
            which = "The other study" if len(others) == 1 else other.name
            yield f"{which} has no recipe {study.recipe}: it has {', '.join(other.across.studies)}."


def title(compared: Beside) -> str:
    return "Beside other studies" if "compare_pairs" in compared.made else "Beside the other study"


def chapter(compared: Beside) -> str:
    """Other studies beside this one: every two first, then conclusions, the rest folded."""
    if not compared.made:
        return ""
    notes = [f"<p>{html.text(note)}</p>" for note in compared.notes]
    parts = [f'<h2 id="compare">{title(compared)}</h2>', *notes]
    for made in compared.made.values():
        if made.frame is None:
            parts.append(html.absent(made.table.title, made.reason))
            continue
        shown = html.table(made.frame, made.table.columns, title=made.table.title, wrap=("conclusion",))
        first = made.table.name not in FOLDED
        how = f'<p class="how">{html.text(made.table.how)}</p>' if made.table.how else ""
        heading = f"<h3>{html.text(made.table.title)}</h3>{how}"
        head = f"{made.table.title} ({made.frame.height:,} rows, {made.table.rows})"
        parts.append(heading + shown if first else html.details(head, shown))
    return "".join(parts)
