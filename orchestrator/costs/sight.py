"""What the planned study will be able to see, before anything of it is run (`study/power.py`).

How many items adapters will answer otherwise than their base, and how much seeds will differ, is known only afterwards:
some usual values are assumed and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from study.config import StudyConfig
from study.power import WANTED, Plan, items_needed, smallest_harm

DISCORDANCE, SEED_SD = (0.1, 0.3), 2.0
HARM = -5.0  # pp: for which the items needed are told


def seen(config: StudyConfig, items: Sequence[int]) -> list[str]:
    """Sentences about a study whose targets have so many items; none where nothing is scored but sources themselves."""
    sources, targets = config.source_list(), config.target_list()
    own = sum(len(source.cells) == 1 and source.cells[0] in targets for source in sources)
    cells = len(sources) * len(targets) - own
    if cells < 1 or not items:
        return []
    n, k = int(median(items)), len(config.seeds)
    plans = [Plan(n, k, share, seed_sd=SEED_SD if k > 1 else 0.0, n_cells=cells) for share in DISCORDANCE]
    low, high = (abs(smallest_harm(plan)) for plan in plans)
    needed = [items_needed(plan, HARM) for plan in plans]
    enough = " to ".join(f"{number:,}" if number else "no number of" for number in dict.fromkeys(needed))
    seeds = f"{k} seeds" if k > 1 else "one seed (claims will be of these adapters, not of what such training does)"
    assumed = f"{DISCORDANCE[0]:.0%} to {DISCORDANCE[1]:.0%} of items answered otherwise than by the base"
    assumed += f", {SEED_SD:g} points between seeds" if k > 1 else ""
    return [
        f"what it will see: with {n:,} items per target and {seeds}, one of {cells:,} cells of a model must lose {low:.0f} to "
        f"{high:.0f} points to be called worse with {WANTED:.0%} chance; to see {abs(HARM):g} points it needs {enough} items "
        f"(assumed: {assumed})"
    ]
