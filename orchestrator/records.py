"""Records of failures, and which of them a run clears before it begins."""

from __future__ import annotations

from orchestrator.planning.plan import Plan
from orchestrator.planning.survey import broken_id
from study.config import StudyConfig
from study.store.store import Store


def outdated(store: Store, todo: Plan, config: StudyConfig) -> set[str]:
    """Recorded failures of units that are tried now, of cells that were looked at anew, of units that are done.

    What else is recorded stands: of a unit that is left alone, or that a narrower config does not ask for.
    """
    recorded = store.failures()
    tried = todo.names((unit_id, failure.unit) for unit_id, failure in recorded.items())
    surveyed = {broken_id("source", str(source)) for source in config.source_list()}
    surveyed |= {broken_id("target", str(cell)) for cell in config.target_list()}
    others = recorded.keys() - tried - surveyed
    done = (others & store.trained().keys()) | store.scored_among(others) if others else set()
    return tried | (recorded.keys() & surveyed) | done
