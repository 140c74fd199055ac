"""Which nodes are used: those that lose too many processes are not, unless the study needs them."""

from __future__ import annotations

import pytest
import ray

from orchestrator.cluster.kernel_kills import struck, watch
from orchestrator.cluster.nodes import Nodes, died_on
from orchestrator.scheduling.decide import Shape
from orchestrator.scheduling.waits import Waits
from tests.faults.cluster import Nodes as FaultyNodes
from tests.support.victim import Victim


@pytest.mark.processes
def test_actors_avoid_a_node_that_lost_three() -> None:
    """Real nodes, real deaths: the fourth actor goes elsewhere, although there is room where the others died.

    And a node that is gone is not asked how many it has killed.
    """
    cluster = FaultyNodes()
    excluded: list[str] = []
    try:
        ray.init(cluster.address, log_to_driver=False)
        nodes = Nodes(Shape({"CPU": 1}, 1, {"CPU": 1}), [], lambda node, used: excluded.append(node))
        bad = sorted(node["NodeID"] for node in ray.nodes())[0]
        for _ in range(3):
            victim = ray.remote(Victim).options(num_cpus=1, label_selector={"ray.io/node-id": bad}).remote()
            with pytest.raises(ray.exceptions.RayActorError):
                ray.get(victim.die.remote())
            assert excluded == []
            nodes.lost(died_on([victim]), ["unit"])
        assert excluded == [bad]
        actors = [ray.remote(Victim).options(num_cpus=1, label_selector=nodes.selector()).remote() for _ in range(2)]
        assert bad not in ray.get([actor.node.remote() for actor in actors])
        assert sum(node["CPU"] for node in nodes()) == 2  # and the scheduler does not count on it
        seen = {ray.get(watch(actor))[0]: watch(actor) for actor in actors}
        assert not struck([seen[cluster.kill_node(lambda found: next(n for n in found if n.node_id in seen))]])
    finally:
        ray.shutdown()
        cluster.stop()


def test_excluded_nodes_are_taken_back_where_the_study_could_not_go_on() -> None:
    """A trial needs two bundles, which only the three nodes together hold twice over."""
    alive = {name: {"CPU": 1.0, "GPU": 1.0} for name in ("a", "b", "c")}
    changes: list[tuple[str, bool]] = []
    nodes = Nodes(
        Shape({"GPU": 1}, 2, {"GPU": 1}),
        ["b"],
        lambda *change: changes.append(change),
        lambda: alive,
        Waits(fresh_s=0.0),
    )
    nodes.lost(["a"] * 5, ["x"])  # without it and b no trial would fit
    assert (len(nodes()), changes) == (2, [])
    del alive["c"]
    assert (len(nodes()), changes) == (2, [("b", True)])
    del alive["b"]
    assert len(nodes()) == 1
    alive |= {"c": {"GPU": 1.0}, "d": {"GPU": 1.0}}
    nodes.lost(["a"], ["x"])
    assert (len(nodes()), changes) == (2, [("b", True), ("a", False)])
    assert nodes.selector() == {"ray.io/node-id": "!in(a)"}
