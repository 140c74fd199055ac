"""`python -m orchestrator.sweep CONFIG`: plan a study, do what there is to do of it, say what failed.

The way of a study, step by step in `command`: its config is read and checked (`study.config`), its data, models and
store are looked at (`prepare`, `planning`), the plan and its cost are shown (`summary`, `costs`), the store is taken
with a lease (`study.store.lease`), and `run` does on a Ray cluster (`cluster`) what `scheduling` decides: gangs of
adapters as Tune's trials (`training`), scores at evaluators (`scoring`), until each unit is in the store or has failed.

Exit codes: 0 every unit is done; 1 some failed or the study had to stop; 2 the input is wrong (nothing was started; of
a dry run also when a cell is broken); 130 interrupted.
"""

from __future__ import annotations

import sys

from orchestrator.options import Options
from study.ending import end_by_signal
from study.errors import ConfigError, StoreRefused
from study.plain import say


def main(arguments: list[str] | None = None) -> int:
    try:
        options = Options.parse(arguments)
        return _sweep(options)
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    except StoreRefused as error:
        say(f"error: {error}", sys.stderr)
        return 1


def _sweep(options: Options) -> int:
    """Imports what takes seconds, for which `--help` and a wrong option need not wait."""
    from orchestrator.command import sweep
    from orchestrator.progress.tables import console
    from orchestrator.stop import Interrupted
    from study.store.lost import LeaseLost

    try:
        return sweep(options, console(sys.stderr if options.json else None))
    except LeaseLost as error:
        say(f"error: {error}", sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt) as interruption:
        say(f"{str(interruption) or 'SIGINT'}: stopped. To go on, run the same command again", sys.stderr)
        return 130


if __name__ == "__main__":
    end_by_signal()
    sys.exit(main())
