"""What the planned study will be able to see, before anything of it is run (`study/power.py`).

How many items adapters will answer otherwise than their base, and how much seeds will differ, is known only afterwards:
some usual values are assumed and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from study.cells import regime_of
from study.config import StudyConfig
from study.power import WANTED, Plan, items_needed, smallest_harm

DISCORDANCE, SEED_SD = (0.1, 0.3), 2.0
HARM = -5.0  # pp: for which the items needed are told
NEVER = -99.0  # pp: a loss that no target has to give


def seen(config: StudyConfig, items: Sequence[int]) -> list[str]:
    """Sentences about a study whose targets have so many items; none where nothing but sources themselves is scored."""
    targets = [cell for cell in config.target_list() if not config.is_text(cell)]
    sources = [source for source in config.source_list() if source.size is None]  # of samples are other claims
    learned = [{cell for one in source.line for cell in one.cells} for source in sources]
    cells = sum(regime_of(cells, target) != "MT-ML" for cells in learned for target in targets)
    if cells < 1 or not items:
        return []
    n, k = int(median(items)), len(config.seeds)
    sd = SEED_SD if k > 1 else 0.0
    plans = [Plan(n, k, share, seed_sd=sd, n_sources=len(sources), n_cells=cells) for share in DISCORDANCE]
    cell = "the one cell of each model" if cells == 1 else f"one of the {cells:,} cells of a model"
    seeds = f"{k} seeds" if k > 1 else "one seed"
    assumed = f"{DISCORDANCE[0]:.0%} to {DISCORDANCE[1]:.0%} of right-or-wrong answers other than the base's"
    assumed += f", {SEED_SD:g} points between seeds" if k > 1 else ""
    told = [
        f"what it will see: with {n:,} items per target and {seeds}, {_smallest(plans, cell)} called worse with "
        f"{WANTED:.0%} chance; to see a loss of {abs(HARM):g} points it needs {_needed(plans)} (assumed: {assumed})"
    ]
    if k == 1:
        told.append("with one seed, claims will be of the adapters trained, not of what training on their sources does")
    return told


def _smallest(plans: Sequence[Plan], cell: str) -> str:
    """What a cell must lose."""
    harms = [smallest_harm(plan) for plan in plans]
    if harms[0] < NEVER:
        return f"{cell} is, whatever it loses, not"
    if harms[-1] < NEVER:
        return f"{cell} must lose {-harms[0]:.0f} points or far more to be"
    ends = dict.fromkeys(f"{-harm:.0f}" for harm in harms)
    return f"{cell} must lose {' to '.join(ends)} points to be"


def _needed(plans: Sequence[Plan]) -> str:
    """The items with which a loss of HARM is seen."""
    few, many = (items_needed(plan, HARM) for plan in plans)
    if few is None:
        return "more seeds than these, for no number of items is enough"
    if many is None:
        return f"{few:,} items or far more"
    return f"{few:,} to {many:,} items" if many > few else f"{few:,} items"
