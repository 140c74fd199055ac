"""record.json of an adapter: what it is and how its training went; and what of it the driver is told."""

from __future__ import annotations

from orchestrator.training import outcome
from orchestrator.training.context import TrialContext
from study.cells import Cell
from study.store.course import Stage
from study.store.records import AdapterRecord
from study.units import AdapterUnit, GivenAdapter
from trainers.job import Trained


def adapter_record(unit: AdapterUnit, context: TrialContext, trained: Trained) -> AdapterRecord:
    """What record.json says: what the adapter is, and how its training went."""
    return AdapterRecord(
        adapter_id=unit.adapter_id,
        model=unit.model,
        model_identity=context.models[unit.model].identity,
        source=unit.source.names,
        seed=unit.seed,
        recipe=context.config.recipe_of(unit.source, unit.recipe).model_dump(mode="json"),
        train_doc_hashes=tuple(sorted({example.doc_hash for example in context.examples[unit.source]})),
        course=trained.course,
        conditions=trained.conditions,
        stage=stage_of(unit),
    )


def stage_of(unit: AdapterUnit) -> Stage | None:
    """What is said of a source that has a name."""
    if unit.source.name is None:
        return None
    change = None if unit.source.change is None else str(unit.source.change)
    if unit.start is None:
        return Stage(unit.source.name, change=change)
    before = tuple(dict.fromkeys(str(cell) for cell in _learned(unit.start)))
    return Stage(unit.source.name, str(unit.source.start), unit.start.adapter_id, before, change)


def _learned(adapter: AdapterUnit | GivenAdapter) -> tuple[Cell, ...]:
    """The cells that an adapter has learned, the first of them first; of one made elsewhere what the config says."""
    earlier = _learned(adapter.start) if isinstance(adapter, AdapterUnit) and adapter.start is not None else ()
    return (*earlier, *(adapter.source.cells if adapter.source is not None else ()))


def headline(record: AdapterRecord) -> outcome.Trained:
    """What of a record the driver needs to know."""
    course, best = record.course, record.course.best
    train, validation = (best.train_loss, best.validation_loss) if best is not None else (None, None)
    useful = course.tokens.useful
    return outcome.Trained(
        record.adapter_id, useful, course.seconds, train, validation, _notes(record), course.best_epoch
    )


def _notes(record: AdapterRecord) -> tuple[str, ...]:
    course, left_out = record.course, record.conditions.left_out
    notes = []
    if course.learned_nothing:
        notes.append(f"{record.model}: {course.steps} steps leave adapters as they began: they change nothing")
    if left_out:
        kinds = "fused experts, routers, or modules that PEFT refuses"
        notes.append(f"{record.model}: all-linear leaves out {', '.join(left_out)} ({kinds})")
    return tuple(notes)
