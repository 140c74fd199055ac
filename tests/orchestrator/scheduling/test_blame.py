"""Which nodes are blamed for what they lose, and which are not, since their work is at fault."""

from __future__ import annotations

from orchestrator.scheduling.blame import Blame, selector


def test_a_node_that_keeps_losing_processes_is_excluded_unless_it_is_needed() -> None:
    blame = Blame()
    assert not any(blame.add("a", ["x"], True, now) for now in (0.0, 10.0, 4000.0, 4001.0))  # never 3 within the hour
    assert blame.add("a", ["y"], True, 4002.0)
    assert not blame.add("a", ["z"], True, 4003.0)  # once
    assert not any(blame.add("b", ["z"], False, 4004.0) for _ in range(5))
    assert blame.excluded == {"a"}
    blame.take_back(["a"])
    assert blame.excluded == set()
    assert [blame.add("a", ["z"], True, 4005.0) for _ in range(3)] == [False, False, True]
    assert selector(set()) == {}


def test_work_that_kills_its_process_wherever_it_runs_takes_out_one_node() -> None:
    blame, nodes = Blame(), [f"n{i}" for i in range(8)]
    excluded = [node for node in nodes for i in range(3) if blame.add(node, ["poison", f"{node}-{i}"], True, float(i))]
    assert excluded == ["n0"]
    assert [blame.add("n1", [f"other{i}"], True, 9.0) for i in range(3)] == [False, False, True]  # by other work's loss
