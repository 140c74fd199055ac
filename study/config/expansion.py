"""What the entries of `compose` come to: one combination per language or task of `for`, each with its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from study.cells import Cell, Source
from study.choosing import Choices, Free, choosing
from study.config.composition import CompositionConfig, LambdaConfig, TermConfig
from study.config.keys import StudyConfig
from study.config.recipe import Recipe
from study.errors import ConfigError


@dataclass(frozen=True)
class Combination:
    """One combination, before model and seed: `parts[i]` is what `keys.terms[i]` names, of the study or of `adapters`.

    `language` is what `{language}` stands for in it; on examples of `cell` its weights are searched. `family` is what
    its name comes from, the same for every language.
    """

    name: str
    family: str
    key: str
    keys: CompositionConfig
    parts: tuple[Source | str, ...]
    language: str | None = None
    cell: Cell | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What its parts learn from; of adapters that exist already nobody asks."""
        return tuple(dict.fromkeys(cell for part in self.parts if isinstance(part, Source) for cell in part.cells))

    @property
    def free(self) -> Free | None:
        """What it is where its lambda is to be chosen; None where that is said, or there is none."""
        strength, protocol = self.keys.strength, self.keys.protocol
        if not isinstance(strength, LambdaConfig) or protocol is None:
            return None
        return Free(self.name, protocol, self.language, strength.grid, self.cells, self.family)


def combinations(config: StudyConfig) -> list[Combination]:
    """List them in the config's order. Raises ConfigError for a term that the study lacks, or an equal name."""
    found = [one for i, entry in enumerate(config.compose) for one in _expanded(config, entry, f"compose[{i}]")]
    named: dict[str, str] = {adapter.name: f"adapters[{i}]" for i, adapter in enumerate(config.adapters)}
    named |= {source.name: "sources" for source in config.source_list() if source.name is not None}
    for one in found:
        if one.name in named:
            raise ConfigError(f"{one.key}.name", one.name, f"is the name of {named[one.name]} too", "give each its own")
        named[one.name] = one.key
    return found


def learned(config: StudyConfig) -> list[Source]:
    """List all that is trained on: the sources, then those that are parts of combinations alone.

    What others begin with comes before them, also where it is no source otherwise.
    """
    parts = (part for one in combinations(config) for part in one.parts if isinstance(part, Source))
    return list(dict.fromkeys(one for source in [*config.source_list(), *parts] for one in source.line))


def works(config: StudyConfig, sources: Iterable[Source]) -> dict[str, tuple[Source, Recipe]]:
    """What training comes to, by its name: every source under every recipe."""
    return {
        work_name(source, name): (source, config.recipe_of(source, name))
        for name in config.trained_by
        for source in sources
    }


def work_name(source: Source, recipe: str | None) -> str:
    """What is learned, and by which recipe where there are several."""
    return str(source) if recipe is None else f"{source} ({recipe})"


def held_out(config: StudyConfig) -> list[Cell]:
    """List what a lambda is chosen on, of the cells that are scored.

    A trial run learns from so few rows that none may be held out, and chooses nothing.
    """
    read = {cell for cells in chosen_on(config).values() for cell in cells}
    return [Cell(cell.task, cell.language, held_out=True) for cell in config.target_list() if cell in read]


def chosen_on(config: StudyConfig) -> dict[str, set[Cell]]:
    """By the name of a combination the cells whose held-out items all its lambdas are scored on."""
    return {} if config.trial_run else choices(config, combinations(config)).read


def choices(config: StudyConfig, wanted: Iterable[Combination]) -> Choices:
    """What choosing a lambda for what is scored comes to, of these combinations: on raw text none is chosen."""
    free = [one.free for one in wanted if one.free is not None]
    tasks = [cell for cell in config.target_list() if not config.is_text(cell)]
    return choosing(free, tasks, tasks)


def searched(config: StudyConfig) -> list[tuple[Cell, int]]:
    """List the cells on whose examples weights are searched, each with how many, once."""
    found = [(one.cell, one.keys.weights.search.examples) for one in combinations(config) if one.keys.weights]
    return list(dict.fromkeys((cell, count) for cell, count in found if cell is not None))


def cells_used(config: StudyConfig) -> list[Cell]:
    """List the cells that are trained on or scored, each once. Raises ConfigError for an unknown cell."""
    learned_from = [cell for one in learned(config) for cell in one.cells]
    return list(dict.fromkeys([*learned_from, *(cell for cell, _ in searched(config)), *config.target_list()]))


def _expanded(config: StudyConfig, entry: CompositionConfig, key: str) -> Iterator[Combination]:
    languages = _values(config.languages, entry.over.language, f"{key}.for.language")
    tasks = _values([task.name for task in config.families], entry.over.task, f"{key}.for.task")
    for task, language in product(tasks, languages):
        filled = {"{task}": task, "{language}": language}
        name, family = (_named(entry.name, marks, f"{key}.name") for marks in (filled, filled | _any(language)))
        parts = tuple(_part(config, term, filled, f"{key}.terms[{i}]", name) for i, term in enumerate(entry.terms))
        cell = None
        if entry.weights is not None:
            said_cell = _filled([entry.weights.search.cell], filled, f"{key}.weights.search.cell")[0]
            cell = config.cell(f"{key}.weights.search.cell", said_cell)
            if config.task(cell.task).lm_eval is None:
                problem, fix = "is learned from only: it asks nothing that weights could answer", "name a task's cell"
                raise ConfigError(f"{key}.weights.search.cell", said_cell, problem, fix)
        yield Combination(name, family, key, entry, parts, language, cell)


def _any(language: str | None) -> dict[str, str | None]:
    return {} if language is None else {"{language}": "{language}"}


def _named(name: str, filled: dict[str, str | None], key: str) -> str:
    """A name filled in; what `for` names and it does not stands in brackets behind it. Raises ConfigError."""
    behind = [value for mark, value in filled.items() if value is not None and mark not in name]
    return _filled([name], filled, key)[0] + (f"[{'/'.join(behind)}]" if behind else "")


def _values(known: tuple[str, ...] | list[str], asked: object, key: str) -> list[str | None]:
    """What a placeholder stands for; once nothing, where `for` does not say. Raises ConfigError."""
    if asked is None:
        return [None]
    if asked == "all":
        return list(known)
    assert isinstance(asked, tuple)
    for one in asked:
        if one not in known:
            raise ConfigError(key, one, "is not in this study", f"use some of {', '.join(known)}, or all")
    return list(dict.fromkeys(asked))


def _part(config: StudyConfig, term: TermConfig, filled: dict[str, str | None], key: str, name: str) -> Source | str:
    """What a term names, in one expansion. Raises ConfigError."""
    texts = _filled([term.adapter or ""] if term.source is None else _texts(term.source), filled, key)
    if term.source is None:
        if texts[0] not in {adapter.name for adapter in config.adapters}:
            composed = texts[0].partition("[")[0] in {entry.name for entry in config.compose}
            fix = "combine sources and adapters, not combinations" if composed else "name one of `adapters`"
            raise ConfigError(f"{key}.adapter", texts[0], f"is no adapter of this study (in {name})", fix)
        return texts[0]
    try:
        return config.source(f"{key}.source", texts)
    except ConfigError as error:
        raise ConfigError(error.key, error.value, f"{error.problem} (in {name})", error.fix) from error


def _filled(texts: list[str], filled: dict[str, str | None], key: str) -> list[str]:
    for mark, value in filled.items():
        if value is None and any(mark in text for text in texts):
            raise ConfigError(key, texts, f"{mark} stands for nothing", f"add for: {{{mark[1:-1]}: [...]}}, or all")
        texts = [text.replace(mark, value or "") for text in texts]
    return texts


def _texts(source: str | tuple[str, ...]) -> list[str]:
    return [source] if isinstance(source, str) else list(source)
