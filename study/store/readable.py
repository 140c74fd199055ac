"""A store that cannot be read is bad input: whatever reading it raises becomes the one error that commands print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from study.errors import ConfigError, StoreRefused
from study.store.contents import Damaged
from study.store.filesystem import trouble
from study.store.schema import OtherVersion

RUN_BEFORE = "name the `store` of a config that was run before"


@contextmanager
def readable(
    key: str, uri: str, *, otherwise: str = "", fix: str | None = None, refusals: bool = True
) -> Iterator[None]:
    """Raise ConfigError, under the config key or argument that names the store, for one that cannot be read.

    `otherwise` is added to the fix for a store of another release; `fix` replaces the one for a store that does not
    answer. Without `refusals` a StoreRefused passes: it ends a run in another way than bad input does.
    """
    try:
        yield
    except ConfigError as error:  # the filesystem's own know the store by the key of a config
        if error.key != "store" or key == "store":
            raise
        raise ConfigError(key, error.value, error.problem, error.fix) from error
    except OtherVersion as error:
        raise ConfigError(key, uri, "is of another release", f"{error}{otherwise}") from error
    except Damaged as error:
        fix = f"python -m study.check {uri} --repair says which, and has what was in it done again"
        raise ConfigError(key, uri, f"holds a damaged file ({error})", fix) from error
    except OSError as error:
        if isinstance(error, StoreRefused) and not refusals:
            raise
        if fix is not None:
            raise ConfigError(key, uri, str(error), fix) from error
        meant = trouble(uri, error)
        raise ConfigError(key, uri, meant.problem, meant.fix) from error


def no_study(key: str, uri: str, fix: str = RUN_BEFORE) -> ConfigError:
    """Say that a store holds no study, and what to do."""
    return ConfigError(key, uri, "holds no study", fix)


def no_scores(key: str, uri: str) -> ConfigError:
    """Say that a store has nothing to read yet, and what to do."""
    return ConfigError(key, uri, "it holds no scores yet", "run `python -m orchestrator.sweep CONFIG` first")
