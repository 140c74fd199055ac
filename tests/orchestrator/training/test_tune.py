"""Trials of Tune: what it tells of those that cannot be made, and how often it begins anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from traceback import format_exception
from types import SimpleNamespace
from typing import cast

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from orchestrator.cluster import address, vigil
from orchestrator.cluster.vigil import Vigil
from orchestrator.failures import Hung, kind_of, kind_of_words
from orchestrator.run import StudyRun
from orchestrator.scheduling.gang_queue import GangQueue
from orchestrator.scheduling.silence import Beat, Duty
from orchestrator.training import tune
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import Event, GangEnded, GangLost
from orchestrator.training.tune import Trials, _error_of, trial_name
from study.config.file import parse
from study.errors import TaskError
from study.pulse import LOADING, WORKING, Reached
from study.store.store import Store
from tests.orchestrator.planning.test_plan import TEXT, grid_of
from tests.support.trainables import Quick, Unmade
from tests.support.trials import context_of, study


class Everywhere:
    """A cluster of which no node is excluded."""

    def selector(self) -> dict[str, str]:
        return {}

    def lost(self, nodes: Iterable[str], work: list[str]) -> None:
        assert list(nodes) == []


@pytest.mark.parametrize("ours", [True, False])
def test_an_actor_that_cannot_be_made_is_told_from_one_that_is_lost(
    cluster: None, world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """What Tune tells of it: the error itself, or its words where others might have written the error."""
    monkeypatch.setattr(tune, "is_only_ours", lambda _: ours)
    context = context_of(study(world, tmp_path, failures={"node_lost": 1})[1])
    gang = tuple(context.units.values())
    gangs: GangQueue[Event] = GangQueue([gang])
    gangs.allow(1)
    trials = Trials(context, gangs, Unmade, Everywhere())
    trials.start()
    event = gangs.events.get(timeout=400)
    assert isinstance(event, GangLost)
    assert (event.adapter_ids, event.kind) == (tuple(unit.adapter_id for unit in gang), "bug")
    assert "No module named 'nowhere'" in event.message
    trials.join(60)
    assert not trials.is_alive()


def test_tune_begins_anew_now_and_then_and_no_gang_is_left_out(
    cluster: None, world: tuple[Path, Path], tmp_path: Path
) -> None:
    context = context_of(study(world, tmp_path)[1])
    gangs: GangQueue[Event] = GangQueue([(unit,) for unit in context.units.values()], trials_each=2)
    gangs.allow(1)
    trials = Trials(context, gangs, Quick, Everywhere())
    trials.start()
    trials.join(120)
    assert not trials.is_alive()
    results = [event for _ in context.units if isinstance(event := gangs.events.get_nowait(), GangEnded)]
    assert gangs.events.empty()
    assert [[adapter.adapter_id for adapter in result.trained] for result in results] == [[n] for n in context.units]
    first, again, other, last = (result.trained[0].tokens for result in results)  # which tell the process
    assert first == again != other == last


def _of_task(cause: Exception) -> Exception:
    """What Ray raises where a task or an actor's method has raised."""
    try:
        raise cause
    except Exception as error:  # noqa: BLE001
        return RayTaskError("train", "".join(format_exception(error)), error, "trial", pid=1, ip="192.0.2.1")


class Slow:
    """A vigil that finds everybody silent, while Tune's thread goes on."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self.killed: list[object] = []

    def silent(self, at_work: Sequence[tuple[object, Duty]]) -> list[tuple[object, float]]:
        self._meanwhile()
        return [(actor, 700.0) for actor, _ in at_work]

    def end(self, actors: Sequence[object], what: str, seconds: float) -> Hung:
        self.killed += actors
        return Hung(what)


def test_a_trial_that_ends_while_it_is_found_silent_is_left_alone(tmp_path: Path) -> None:
    """Its actor may have the next gang by then."""
    context = TrialContext(parse(TEXT), {}, {}, {}, Store(str(tmp_path)))
    trials = Trials(context, GangQueue[Event]([]), Quick, Everywhere())
    hung, over, reused = object(), object(), object()

    def trial(name: str, actor: object) -> SimpleNamespace:
        return SimpleNamespace(config={"name": name}, trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor))

    def meanwhile() -> None:
        trials.over(trial("b", over))
        trials.over(trial("c", reused))
        trials.began(trial("d", reused))

    for name, actor in (("a", hung), ("b", over), ("c", reused)):
        trials.began(trial(name, actor))
    trials._vigil = slow = Slow(meanwhile)
    assert [str(one).partition(":")[0] for one in trials.end_hung()] == ["the trial of a"]
    assert slow.killed == [hung]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ActorDiedError(), "node_lost"),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "killed_for_memory"),
        (_of_task(Hung("a trainer")), "hung"),
        (_of_task(ActorDiedError()), "node_lost"),
        (_of_task(TaskError("t/en", "no rows")), "bad_data"),
        (_of_task(RuntimeError("DataLoader worker is lost")), "bug"),
    ],
)
def test_words_of_an_error_tell_its_kind_as_it_does(error: Exception, kind: str) -> None:
    assert kind_of_words(str(error)) == kind_of(error) == kind


def test_what_an_actor_has_said_of_its_last_gang_is_no_progress_of_its_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks for seconds after Tune has given it the next one."""
    said = Beat(1, LOADING)
    monkeypatch.setattr(vigil, "placed_on", lambda actors: ["node"])
    monkeypatch.setattr(vigil.beats, "beats", lambda actors: dict.fromkeys(actors, said))
    gangs: GangQueue[Event] = GangQueue([(unit,) for unit in grid_of(parse(TEXT)).adapters[:2]])
    gangs.allow(1)
    trials = Trials(TrialContext(parse(TEXT), {}, {}, {}, Store(str(tmp_path))), gangs, Quick, Everywhere())
    trials._vigil = Vigil(0.0)
    run = cast(StudyRun, SimpleNamespace(_estimates=SimpleNamespace(gang_s=lambda gang: 100.0, load_s={"a": 10.0})))
    actor = SimpleNamespace(_actor_id=b"actor")

    def shares(look: bool = True) -> list[float]:
        if look:
            trials.end_hung()
        return [one.share for one in StudyRun._trained(run, trials)]

    monkeypatch.setattr(trials._vigil, "end", lambda actors, what, seconds: Hung(what))
    for name in ("first", "second"):
        gangs.next(name)
        config = {"name": name}
        trial = SimpleNamespace(config=config, trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor))
        trials.began(trial)
        assert shares(look=False) == [0]
        assert shares() == [0]
        said = Beat(said.count + 1, WORKING, {}, Reached(0.5, 50.0))
        assert shares() == [0.5]
        said = Beat(said.count + 1, WORKING, {}, Reached(8.0, 100.0))
        assert shares() == [1]  # whatever it says
        trials.over(trial)
        gangs.ended(name, GangEnded())


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_an_error_that_others_may_have_written_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below `/tmp/ray` everybody may write, and reading it runs what it says."""
    monkeypatch.chdir(tmp_path)
    private = address._is_own  # as the folders above are
    monkeypatch.setattr(address, "_is_own", lambda folder: folder.is_relative_to(tmp_path) and private(folder))
    folder, file = tmp_path / "ray", tmp_path / "ray" / "error.pkl"
    folder.mkdir()
    trial = SimpleNamespace(pickled_error_file=str(file))
    assert _error_of(trial) is None
    file.write_bytes(cloudpickle.dumps(Hung("x")))
    assert isinstance(_error_of(trial), Hung)
    file.write_bytes(cloudpickle.dumps(Evil()))
    tmp_path.chmod(0o755)  # else nobody could go there
    folder.chmod(0o777)
    assert _error_of(trial) is None
    assert not (tmp_path / "ran").exists()
    folder.chmod(0o755)
    _error_of(trial)
    assert (tmp_path / "ran").exists()


def test_a_trial_reads_model_task_languages_seed() -> None:
    assert trial_name(grid_of(parse(TEXT)).adapters[:2]) == "a/arc/[en,de]/1"
