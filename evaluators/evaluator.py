"""One process that scores: adapters of one model on the targets of a study.

What can stay warm stays: base model, tokenizer, tasks, tokenised requests and rows. A call scores adapters (or the
base) on several targets. Invariant: what is scored is scored on the base as it was loaded, bit for bit, or again.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from transformers import PreTrainedModel

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.loading import check_readable
from adapters.folders.folder import AdapterWeights
from adapters.folders.renamed import as_read
from adapters.modules.comparison import banked
from adapters.modules.plain import Plain
from adapters.quantising.weights import rounds_inputs
from evaluators.forward.engine import Engine
from evaluators.forward.generate import Writer
from evaluators.forward.profile import Profile
from evaluators.held import Held
from evaluators.items.encoder import Encoder, encoder_of
from evaluators.items.targets import EXACT, ROUNDED, SharedRequests, Targets
from evaluators.readings import Readings
from evaluators.scored import Scored, failed
from evaluators.subjects import sharing
from evaluators.subjects.composed import Place, Routed, fetched
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base
from evaluators.subjects.sharing import bank_on
from evaluators.subjects.touchstone import Touchstone
from evaluators.waves import Waves
from study.cells import Cell
from study.composition import Search
from study.config import Scoring, StudyConfig, TaskConfig, Validation
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.faults.kinds import BAD_DATA
from study.models.resolve import Model
from study.pulse import LOADING, WORKING, beat
from study.scratch import scratch
from study.store.store import Store
from study.units import Adapter, AdapterUnit, ComposedAdapter, GivenAdapter, ScoreUnit

log = logging.getLogger(__name__)
_OF_BASE = ("_base", "_engine", "_targets", "_waves", "_readings", "_known", "_plain", "_print")


@dataclass(frozen=True)
class Settings:
    """How the targets of a study are scored, and how it is run: `profile` asks for a page on where the time goes."""

    tasks: tuple[TaskConfig, ...]
    scoring: Scoring
    tokens_per_batch: int | Literal["auto"] = "auto"
    profile: bool = False
    languages: tuple[str, ...] = ()
    validation: Validation | None = None
    texts: tuple[Cell, ...] = ()  # cells of raw text that are scored
    gpus: int = 1  # over which the base is split, where there are GPUs

    @property
    def chats(self) -> frozenset[bool | str]:
        """By which chat templates tasks are asked: by that of the tokenizer (True), or by one of these names."""
        return frozenset(task.scoring.over(self.scoring).apply_chat_template for task in self.tasks) - {False}

    @classmethod
    def of(cls, config: StudyConfig, profile: bool = False) -> Settings:
        return cls(
            config.families,
            config.scoring,
            config.evaluators.tokens_per_batch,
            profile,
            config.languages,
            config.held_out_by,
            tuple(config.scored_texts()),
            config.evaluators.gpus,
        )


class Evaluator:
    """Scores units of one model. Raises what the model, the store or the device raise; bad data is returned instead."""

    def __init__(
        self, model: Model, store: Store, settings: Settings, shared: SharedRequests = lambda cell: None
    ) -> None:
        self._model, self._store, self._settings, self._shared = model, store, settings, shared
        self._encoder, self._held = encoder_of(model), Held(store)
        self._open()

    def _open(self) -> None:
        """Load the base, and all that holds on to it. Raises ConfigError for one that cannot be scored.

        What another one was held by before is let go of first: a device may have no room for two.
        """
        for name in _OF_BASE:
            vars(self).pop(name, None)
        gc.collect()  # PEFT's modules know each other both ways
        model, settings = self._model, self._settings
        beat(LOADING)
        self._base = load_base(model, settings.gpus)
        beat()
        self._exact = ROUNDED if check_readable(self._base, model).rounds else EXACT
        beat()
        budget = None if settings.tokens_per_batch == "auto" else settings.tokens_per_batch
        self._engine = Engine(self._base, budget, Profile(self._base) if settings.profile else None, model.attention)
        self._targets = self._targets_of(self._encoder, self._shared)
        self._waves = self._waves_of(self._encoder, self._targets, model.identity)
        self._readings = Readings(self._base, self._encoder, settings.chats, self._own_waves)
        self._known, self._plain = Touchstone(self._base), Plain(self._base)
        self._print = fingerprint(self._base)  # now that lm-eval has had it and tied what is tied
        beat()

    def _targets_of(self, encoder: Encoder, shared: SharedRequests, branch: bool = True) -> Targets:
        settings = self._settings
        library = TaskLibrary(settings.tasks, settings.scoring, settings.languages, settings.validation, settings.texts)
        return Targets(library, encoder, self._engine, shared, self._exact if branch else None)

    def _waves_of(self, encoder: Encoder, targets: Targets, asked_as: str | None = None) -> Waves:
        writer = Writer(self._engine, encoder.tokenizer, int(encoder.max_length))
        return Waves(self._engine, targets, writer, self._held, asked_as)

    def _own_waves(self, encoder: Encoder, branch: bool) -> Waves:
        """Waves of requests that are made here and used by no other process."""
        return self._waves_of(encoder, self._targets_of(encoder, lambda cell: None, branch))

    def score(self, units: Sequence[ScoreUnit]) -> list[Scored]:
        """Score units, adapter by adapter or several at once, and write their rows. An outcome per unit, in order.

        Were the base's numbers written to meanwhile, no row of it is written: all is scored again, each subject on a
        base that none before it has written to.
        """
        self._held.drop()  # of a batch that did not come to its end
        if "_print" not in vars(self):  # the base could not be loaded again
            self._open()
        self._plain = Plain(self._base)  # what was read for another batch lay in folders that are gone
        waiting: dict[Adapter | None, list[ScoreUnit]] = {}
        for unit in units:
            waiting.setdefault(unit.adapter, []).append(unit)
        done: dict[str, Scored] = {}
        with scratch() as local:
            folders = self._fetched(waiting, local, done)
            tokens = self._tokens_of(max(waiting.values(), key=len, default=[]))
            many = sharing.adapters_per_batch(self._engine.device.type, self._engine.budget, tokens)
            loaded = self._print
            alone = self._score_together(waiting, folders, many, done) if many > 1 and len(folders) > 1 else waiting
            for adapter, own in alone.items():
                self._score_alone(own, None if adapter is None else folders[adapter], done)
            self._renew()
            if self._print is not loaded:  # now, or after one of the subjects: whose doing it was is not known
                self._held.drop()
                for adapter, own in waiting.items():
                    self._score_alone(own, None if adapter is None else folders[adapter], done)
                    self._renew()
        with self._engine.stage("write"):
            self._held.write()
        if self._engine.profile is not None:
            self._engine.profile.write(self._store, self._model)
        return [done[unit.score_id] for unit in units]

    def _fetched(
        self, waiting: dict[Adapter | None, list[ScoreUnit]], local: Path, done: dict[str, Scored]
    ) -> dict[Adapter, Path | Routed]:
        """What each adapter is on this machine. One that cannot be put together is taken out: its units have failed."""
        found: dict[Adapter, Path | Routed] = {}
        place = Place(self._base, self._model, self._store, local, self._plain)

        @cache  # several are made of one
        def read(one: AdapterUnit | GivenAdapter) -> Path:
            return as_read(self._base, self._store.fetch_adapter(one.folder, local), local)

        for adapter in [adapter for adapter in waiting if adapter is not None]:
            if not isinstance(adapter, ComposedAdapter):
                found[adapter] = read(adapter)
                continue
            try:
                found[adapter] = fetched(adapter, place, read, self._loss)
            except (AdapterError, TaskError) as error:
                done.update((unit.score_id, failed(unit, BAD_DATA, error)) for unit in waiting.pop(adapter))
        return found

    def _loss(self, search: Search, adapter: AdapterWeights) -> float:
        """What an adapter loses on the examples that weights are searched on, in nats per token of their answers."""
        return sharing.loss(self._engine, adapter, self._targets.shots(Cell.parse(search.cell), search.examples))

    def _score_together(
        self,
        waiting: Mapping[Adapter | None, list[ScoreUnit]],
        folders: Mapping[Adapter, Path | Routed],
        many: int,
        done: dict[str, Scored],
    ) -> dict[Adapter | None, list[ScoreUnit]]:
        """Score the adapters that can share batches, so `many` at once; return the units of all others."""
        plain = {a: found for a, folder in folders.items() if (found := self._bankable(folder)) is not None}
        adapters, weights = list(plain), list(plain.values())
        most = sharing.most_ranks(self._base, weights)
        for places in sharing.by_rank([one.rank for one in weights], many, most):
            group = [adapters[place] for place in places]
            with bank_on(self._engine, [plain[adapter] for adapter in group]):
                own = [(unit, slot) for slot, adapter in enumerate(group) for unit in waiting[adapter]]
                self._waves.score(own, done)
        return {adapter: own for adapter, own in waiting.items() if adapter not in plain}

    def _bankable(self, folder: Path | Routed) -> AdapterWeights | None:
        """An adapter's matrices where a bank computes what PEFT does with its folder, whoever is beside it."""
        if isinstance(folder, Routed) or rounds_inputs(self._base):
            return None
        found = self._plain(folder)
        return found if found is not None and self._known.holds(banked, found, folder) else None

    def _renew(self) -> None:
        """Load the base again if it is no longer what was loaded."""
        if (what := changed(self._base, self._print)) is not None:
            log.warning("the base of %s was changed (%s): it is loaded again", self._model.name, what)
            self._open()
            beat(WORKING)

    def _tokens_of(self, units: Sequence[ScoreUnit]) -> int:
        """Tokens of the units' targets, as far as they can be read."""
        return sum(target.tokens for unit in units if (target := self._targets.readable(unit.target)) is not None)

    def _score_alone(self, units: Sequence[ScoreUnit], folder: Path | Routed | None, done: dict[str, Scored]) -> None:
        """Score units of an adapter, or of the base; afterwards that is what it was, or is loaded again."""
        by_others = folder is not None  # until it is known that we put the adapter on by ourselves
        try:
            by_others = self._score_on(folder, units, done)
        except AdapterError as error:
            done.update((unit.score_id, failed(unit, BAD_DATA, error)) for unit in units)
        finally:
            if by_others:
                self._renew()

    def _score_on(self, folder: Path | Routed | None, units: Sequence[ScoreUnit], done: dict[str, Scored]) -> bool:
        """Score units; say whether others than we put their adapter on the base. Raises AdapterError."""
        waves, found = self._waves, folder.on(self._base) if isinstance(folder, Routed) else self._base
        subject: AbstractContextManager[PreTrainedModel] = nullcontext(found)
        if isinstance(folder, Path):
            waves = self._readings.of(folder) or waves
            subject = adapter_on(self._base, folder, self._known, self._plain)
        with subject as model, self._engine.running(model):
            waves.score([(unit, None) for unit in units], done)
            return model is not self._base
