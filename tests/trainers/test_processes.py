"""Two real processes train a gang as one does, with dropout, at every ZeRO stage, even where a step has few rows.

Also with slow weights, with what keeps near the base, on from another adapter, and from where one has got to.
"""

from __future__ import annotations

import ipaddress
import multiprocessing
import multiprocessing.queues
import os
import traceback
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest
import torch
from safetensors.torch import load_file

from study.config import KeepNearBase, Lora, Mixing, ModelConfig
from study.models.resolve import Model, resolve
from tests.support import zoo
from tests.support.spread import Held, watched
from tests.support.training import RECIPE, assert_close, job, train, training, weights
from trainers import gathered
from trainers.checkpoint import Checkpoint
from trainers.checkpoint_header import header
from trainers.engine import Engine
from trainers.job import Job, Setup, Trained
from trainers.meeting import Meeting
from trainers.worker import Worker

STAGES = (0, 1, 2, 3)
RESUMED = (1, 3)
PROMPTS = (job("x", count=5).examples,)
GANG = [
    replace(job("a", count=21), cells=(12, 9), prompts=PROMPTS),
    replace(job("b", seed=8, count=6), prompts=PROMPTS),
]
ODD = RECIPE.model_copy(
    update={
        "batch_size": 3,
        "epochs": 2,
        "lora": Lora(r=4, alpha=8, dropout=0.2),
        "mixing": Mixing(order="reptile", inner_steps=4, outer_rate=0.5),
        "keep_near_base": KeepNearBase(kl=0.5, l2=0.02),
    }
)  # with micro-batches of 1, one process has none in each step's last round
KINDS = {
    "dora": ODD.model_copy(update={"kind": "dora", "keep_near_base": KeepNearBase(kl=0.5)}),
    "pissa": ODD.model_copy(update={"lora": Lora(r=4, alpha=8, dropout=0.2, init="pissa", lr_ratio=4)}),
    "prompts": ODD.model_copy(update={"kind": "prompt_tuning", "keep_near_base": KeepNearBase(kl=0.5)}),
}
LAST = RECIPE.validation.model_copy(update={"keep": "last"})
WHOLE = RECIPE.model_copy(
    update={"batch_size": 3, "epochs": 2, "lora": None, "learning_rate": 1e-3, "weight_decay": 0.1, "validation": LAST}
)
AT_ONCE = 4096  # numbers
DEEP: dict[str, dict[str, object]] = {  # a head that is the embedding, experts, matrices that are kept transposed
    "llama": {"num_hidden_layers": 6, "tie_word_embeddings": True},
    "mixtral": {"num_hidden_layers": 3, "tie_word_embeddings": False},
    "gpt2": {"n_layer": 6},
}
NOTHING_KEPT = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}  # not even small weights

Meetings: TypeAlias = "multiprocessing.queues.Queue[Meeting]"


def check_closed(meeting: Meeting, rank: int) -> None:
    """Nobody listens at all addresses, as torch's server did, and guessed keys find nothing."""
    listening = {c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert not listening & {"0.0.0.0", "::", "::0"}, listening
    if rank == 0:
        assert meeting.host in listening
    stranger = torch.distributed.TCPStore(meeting.host, meeting.port, is_master=False, timeout=timedelta(seconds=20))
    assert not any(stranger.check([f"{prefix}0"]) for prefix in ("", "default_pg/0//", "default_pg/0/"))
    assert meeting.secret not in repr(meeting)


def gang(out: Path) -> list[Job]:
    """One of them is trained on from the adapter in this folder."""
    return [GANG[0], replace(GANG[1], start=(out / "start.safetensors").read_bytes())]


def train_whole(worker: Worker, model: Model, out: Path) -> None:
    """Train all weights where ZeRO 3 spreads them; note how many numbers were put together at once, and in all."""
    asked, gathered.AT_ONCE, before = list[int](), AT_ONCE, torch.distributed.all_gather_into_tensor

    def counted(whole: torch.Tensor, part: torch.Tensor) -> None:
        asked.append(whole.numel())
        before(whole, part)

    states, state = list[object](), Engine.state
    Engine.state = lambda engine: states.append(state(engine)) or states[-1]  # type: ignore[method-assign,func-returns-value]
    torch.distributed.all_gather_into_tensor = counted
    setup, saved = Setup(model, WHOLE, training(3, micro_batch_size=1)), list[bytes]()
    worker.train(setup, GANG[1:], out / "whole", None, lambda reached: saved.append(reached.to_bytes()))
    torch.distributed.all_gather_into_tensor, Engine.state = before, state  # type: ignore[method-assign]
    if worker.world.rank == 0:
        (out / "gathered").write_text(f"{max(asked)} {sum(asked)}")
        (out / "checkpoint").write_bytes(saved[0])
    assert [one is None for one in states] == [worker.world.rank > 0] * 2, "a checkpoint is in one process's memory"
    torch.distributed.barrier()
    worker.train(setup, GANG[1:], out / "on", Checkpoint.from_bytes((out / "checkpoint").read_bytes()))


def train_deep(worker: Worker, out: Path) -> None:
    """Train all weights of other models; note how many numbers of them, and of gradients, were held at once.

    Each also with layers that are computed again.
    """
    for name, again in product(DEEP, ("", "-again")):
        weights, gradients = Held(), Held()
        how = training(3, deepspeed=NOTHING_KEPT, gradient_checkpointing=bool(again))
        with watched(weights, gradients):
            worker.train(Setup(deep(out, name), WHOLE, how), GANG[1:], out / f"{name}{again}")
        (out / f"held-{name}{again}-{worker.world.rank}").write_text(f"{weights.most} {gradients.most}")


def deep(out: Path, name: str) -> Model:
    return resolve(ModelConfig(id=str(out / f"{name}-model")), "float32", "models[0]")


def work(rank: int, met: Meetings, model: Model, out: Path, begun: bytes) -> None:
    """One process of the group; leaves at once, for gloo's threads may abort at exit after ZeRO 3."""
    saved: list[bytes] = []
    status = 1
    try:
        worker = Worker(rank, 2)
        if rank == 0:
            met.put(worker.address())
        meeting = met.get(timeout=60)
        if rank == 0:
            met.put(meeting)
        worker.join(meeting)
        worker.join(meeting)
        check_closed(meeting, rank)
        for stage in STAGES:
            how = training(stage, micro_batch_size=1)
            start = Checkpoint.from_bytes(begun) if stage in RESUMED else None
            saved.clear()
            folder = out / f"stage{stage}"
            setup, jobs = Setup(model, ODD, how), gang(out)
            results = worker.train(setup, jobs, folder, start, lambda c: saved.append(c.to_bytes()))
            assert len(results) == (len(GANG) if rank == 0 else 0)
            if stage in RESUMED and rank == 0:
                (out / f"checkpoint{stage}").write_bytes(saved[0])
        for name, recipe in KINDS.items():
            how = training(3, micro_batch_size=1, gradient_checkpointing=name != "prompts")
            worker.train(Setup(model, recipe, how), GANG[1:], out / name)
        train_whole(worker, model, out)
        train_deep(worker, out)
        status = 0
    except Exception:  # noqa: BLE001 - told to the parent by the exit code, and below
        traceback.print_exc()
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def by_two(worker: Worker, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made, at some stages from where one had got to."""
    out = tmp_path_factory.mktemp("by_two")
    start = train(worker, model, out, job("s", count=6)).folder / "adapter_model.safetensors"
    start.rename(out / "start.safetensors")
    saved: list[bytes] = []
    worker.train(Setup(model, ODD, training(2)), gang(out), out / "one", None, lambda c: saved.append(c.to_bytes()))
    for name, changes in DEEP.items():
        zoo.make(name, out / f"{name}-model", **changes)
    context = multiprocessing.get_context("spawn")
    met: Meetings = context.Queue()
    processes = [context.Process(target=work, args=(rank, met, model, out, saved[0])) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return out


def test_one_process_listens_to_this_machine_alone(worker: Worker, by_two: Path) -> None:
    """A server of torch's listened at all addresses of a laptop."""
    listening = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert worker.world.joined
    assert all(ipaddress.ip_address(one).is_loopback for one in listening), listening


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_equal_one(worker: Worker, model: Model, tmp_path: Path, by_two: Path, stage: int) -> None:
    for one in gang(by_two):
        expected = train(worker, model, tmp_path, one, ODD)
        found = load_file(by_two / f"stage{stage}" / one.adapter_id / "adapter_model.safetensors")
        assert_close(found, weights(expected))


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_equal_one_of_each_kind(
    worker: Worker, model: Model, tmp_path: Path, by_two: Path, name: str
) -> None:
    """Where the base is spread, whose matrices these kinds begin with or measure."""
    expected = train(worker, model, tmp_path, GANG[1], KINDS[name])
    assert_close(load_file(by_two / name / "b" / "adapter_model.safetensors"), weights(expected))


def test_two_processes_put_all_weights_together_a_piece_at_a_time(
    worker: Worker, model: Model, tmp_path: Path, by_two: Path
) -> None:
    expected = train(worker, model, tmp_path, GANG[1], WHOLE, training(0))
    assert_close(*(load_file(one / "model.safetensors") for one in (by_two / "whole" / "b", expected.folder)))
    most, total = map(int, (by_two / "gathered").read_text().split())
    assert most <= AT_ONCE
    assert total == 2 * 4 * model.params, "in each epoch its weights, and a checkpoint of them with both moments"


def test_all_weights_go_on_where_two_were(worker: Worker, model: Model, tmp_path: Path, by_two: Path) -> None:
    """Two do so to the byte; one by itself, at another stage, but for rounding."""
    files = [(by_two / name / "b" / "model.safetensors").read_bytes() for name in ("whole", "on")]
    assert files[0] == files[1]
    start = Checkpoint.from_bytes((by_two / "checkpoint").read_bytes())
    [mine] = worker.train(Setup(model, WHOLE, training(0)), GANG[1:], tmp_path, start)
    assert isinstance(mine, Trained)
    assert_close(*(load_file(one / "model.safetensors") for one in (mine.folder, by_two / "whole" / "b")))


@pytest.mark.parametrize("name", DEEP)
def test_no_process_holds_more_than_a_layer_and_the_vocabularys(
    worker: Worker, tmp_path: Path, by_two: Path, name: str
) -> None:
    """Neither of weights nor of gradients, though all are trained, to what one process trains."""
    expected = train(worker, deep(by_two, name), tmp_path, GANG[1], WHOLE, training(0))
    found, own = (load_file(one / "model.safetensors") for one in (by_two / name / "b", expected.folder))
    layer = sum(one.numel() for weight, one in found.items() if ".0." in weight.replace(".experts.0.", "."))
    vocabulary = max(one.numel() for one in found.values())
    for rank, again in product(range(2), ("", "-again")):
        for most in map(int, (by_two / f"held-{name}{again}-{rank}").read_text().split()):
            assert 0 < most <= layer + 2 * vocabulary < sum(one.numel() for one in found.values()) / 1.9
    kept, recomputed = (by_two / one / "b" / "model.safetensors" for one in (name, f"{name}-again"))
    assert kept.read_bytes() == recomputed.read_bytes()
    # Biases of keys cancel out: their gradients are noise, which Adam makes as large as any.
    assert_close(*({n: one for n, one in of.items() if not n.endswith("c_attn.bias")} for of in (found, own)))


@pytest.mark.parametrize("stage", RESUMED)
def test_one_goes_on_where_two_went_on_where_one_was(
    worker: Worker, model: Model, tmp_path: Path, by_two: Path, stage: int
) -> None:
    data = (by_two / f"checkpoint{stage}").read_bytes()
    assert len(header(data)["resumed"]) == 1
    for one in gang(by_two):
        expected = train(worker, model, tmp_path / "alone", one, ODD)
        [mine] = worker.train(Setup(model, ODD, training(2)), [one], tmp_path / "on", Checkpoint.from_bytes(data))
        assert isinstance(mine, Trained)
        assert_close(weights(mine), weights(expected))
