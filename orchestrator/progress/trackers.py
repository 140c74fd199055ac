"""Sends what a run sees to the trackers that `track` names: losses per epoch, mean scores per adapter, progress.

Each tracker is its own library, in its own offline mode where its environment says so (WANDB_MODE=offline); what they
write without a server lies in the store's logs when the store is local. A tracker that cannot be opened is an error
before the run; one that fails later is dropped with a warning: the store is the truth, and the study goes on.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from study.config import StudyConfig
from study.errors import ConfigError
from study.store.contents import Damaged
from study.store.layout import LOGS
from study.store.records import AdapterRecord
from study.store.store import Store
from study.units import AdapterUnit

LIBRARIES = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboardX"}


class Tracker(Protocol):
    """Takes numbers by name; `axis` is what `step` counts: epoch, or seconds."""

    def log(self, numbers: Mapping[str, float], axis: str, step: int) -> None: ...

    def close(self) -> None: ...


class _Wandb:
    def __init__(self, config: StudyConfig, folder: Path) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "crosscells"),
            name=config.study,
            dir=str(folder),
            config=config.model_dump(mode="json"),
        )
        for pattern, axis in (("loss/*", "epoch"), ("score/*", "seconds"), ("progress/*", "seconds")):
            self._run.define_metric(pattern, step_metric=axis)

    def log(self, numbers: Mapping[str, float], axis: str, step: int) -> None:
        self._run.log({**numbers, axis: step})

    def close(self) -> None:
        self._run.finish()
        self._wandb.teardown()  # waits for the process that writes the file; finish alone may return before it has


class _Mlflow:
    def __init__(self, config: StudyConfig, folder: Path) -> None:
        import mlflow

        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{folder.resolve()}/mlflow.db")
            if mlflow.get_experiment_by_name(config.study) is None:  # its files would go to the working directory
                mlflow.create_experiment(config.study, artifact_location=(folder.resolve() / "artifacts").as_uri())
        mlflow.set_experiment(config.study)
        mlflow.start_run(run_name=config.study)
        mlflow.log_dict(config.model_dump(mode="json"), "config.json")
        self._mlflow = mlflow

    def log(self, numbers: Mapping[str, float], axis: str, step: int) -> None:
        names = {re.sub(r"[^\w/. -]", "_", name): value for name, value in numbers.items()}
        self._mlflow.log_metrics(names, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class _Tensorboard:
    def __init__(self, config: StudyConfig, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / time.strftime("%Y%m%d-%H%M%S")))

    def log(self, numbers: Mapping[str, float], axis: str, step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


OPEN: dict[str, Callable[[StudyConfig, Path], Tracker]] = {
    "wandb": _Wandb,
    "mlflow": _Mlflow,
    "tensorboard": _Tensorboard,
}


def check(config: StudyConfig) -> None:
    """Raise ConfigError for a tracker whose library is not installed."""
    for name in config.track:
        if importlib.util.find_spec(LIBRARIES[name]) is None:
            fix = f"install it: pip install -e '.[{name}]'"
            raise ConfigError("track", name, f"the library {LIBRARIES[name]} is not installed", fix)


class Tracking:
    """All trackers of a run; none is fine too. Raises ConfigError for one that cannot be opened."""

    def __init__(self, config: StudyConfig, store: Store, warn: Callable[[str], None]) -> None:
        self._store, self._warn = store, warn
        self._began = time.monotonic()
        self._open: dict[str, Tracker] = {}
        for name in config.track:
            folder = Path(store.path(LOGS) if store.is_local else "runs") / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open[name] = OPEN[name](config, folder)
            except Exception as error:  # each library has exceptions of its own: no login, no server, no space
                raise ConfigError("track", name, f"cannot be opened ({error})", "mend it, or take it out") from error

    @property
    def is_on(self) -> bool:
        return bool(self._open)

    def course(self, unit: AdapterUnit) -> AdapterRecord | Exception:
        """Read how an adapter was trained, in any thread; or why that cannot be read."""
        try:
            return self._store.record(unit.folder) or FileNotFoundError(f"{unit.folder} has no record")
        except (OSError, Damaged) as error:
            return error

    def trained(self, unit: AdapterUnit, record: AdapterRecord | Exception) -> None:
        """Send an adapter's losses and learning rate, epoch by epoch, as its record has them."""
        if isinstance(record, Exception):
            self._warn(f"trackers are not told how {unit} was trained: {record}")
            return
        for epoch in record.course.epochs:
            kinds = ("train_loss", "validation_loss", "learning_rate")
            numbers = {f"loss/{unit}/{kind}": value for kind in kinds if (value := getattr(epoch, kind)) is not None}
            self._log(numbers, "epoch", epoch.epoch)

    def scored(self, subject: str, means: Mapping[str, float]) -> None:
        """Send the means of an adapter's metrics, or a base's, if there are any."""
        if means:
            self._log({f"score/{subject}/{name}": value for name, value in means.items()}, "seconds", self._seconds)

    def progress(self, numbers: Mapping[str, float]) -> None:
        self._log({f"progress/{name}": value for name, value in numbers.items()}, "seconds", self._seconds)

    def close(self) -> None:
        self._each(lambda tracker: tracker.close())

    @property
    def _seconds(self) -> int:
        return round(time.monotonic() - self._began)

    def _log(self, numbers: Mapping[str, float], axis: str, step: int) -> None:
        self._each(lambda tracker: tracker.log(numbers, axis, step))

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                action(tracker)
            except Exception as error:  # noqa: BLE001 - see the module's docstring
                del self._open[name]
                self._warn(f"{name} is no longer told of this run: {error}")
