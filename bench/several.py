"""What slow weights and staying near the base cost in training: CPU seconds on one thread, beside plain training.

`python -m bench.several [CONFIG] [GANG] [ROUNDS]` trains a gang of sources of two cells each (the first two tasks of
the config in a language) for one epoch, one way after the other in a warm worker, ROUNDS times. Prompts are those of
the other tasks. CPU time of this process counts, so that other work on the machine counts less; each round is a ratio
to its own plain training, and the median of these is told.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from bench.training import cpu_seconds
from study.cells import Cell, Source
from study.config import KeepNearBase, Mixing, Recipe, StudyConfig
from study.config.file import load
from study.data.prompts import Prompts, others
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all
from trainers.job import Job, Setup, Trained
from trainers.worker import Worker

WAYS: dict[str, dict[str, object]] = {
    "plain": {},
    "mixed, uniform": {"mixing": Mixing(weights="uniform")},
    "reptile, uniform": {"mixing": Mixing(order="reptile", weights="uniform", inner_steps=16, outer_rate=0.5)},
    "l2": {"keep_near_base": KeepNearBase(l2=0.01)},
    "kl": {"keep_near_base": KeepNearBase(kl=0.1)},
}


def jobs_of(config: StudyConfig, count: int) -> list[Job]:
    """Adapters of the first two tasks together, language after language, each with the prompts of the others."""
    library, tasks = TaskLibrary.of(config), [task.name for task in config.tasks]
    languages, found = config.languages[:count], []
    others_of = [Cell(task, language) for task in tasks[2:] for language in languages]
    prompts = {cell: Prompts.of(library.examples(cell)) for cell in others_of}
    for language in languages:
        source = Source.of([Cell(task, language) for task in tasks[:2]])
        counts = tuple(len(library.examples(cell)) for cell in source.cells)
        near = tuple(one.examples for one in others(prompts, source))
        found.append(Job(language, 17, library.source_examples(source), counts, near))
    return found


def main(config_file: str, gang: int, rounds: int) -> None:
    torch.set_num_threads(1)
    config = load(config_file, [], None)
    [model, *_], worker, jobs = resolve_all(config), Worker(0, 1), jobs_of(config, gang)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}

    def trained(recipe: Recipe, some: list[Job]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = cpu_seconds()
            done = worker.train(Setup(model, recipe, config.training), some, Path(folder))
            assert all(isinstance(one, Trained) for one in done)
            return cpu_seconds() - started

    once = config.recipe.model_copy(update={"epochs": 1})
    recipes = {way: once.model_copy(update=changes) for way, changes in WAYS.items()}
    for recipe in recipes.values():  # imports, first calls, tokens
        trained(recipe, jobs[:2])
    for _ in range(rounds):
        for way, recipe in recipes.items():
            seconds[way].append(trained(recipe, jobs))
            print(f"{way:18} {seconds[way][-1]:7.2f} CPU s", flush=True)
    for way, own in seconds.items():
        ratios = sorted(mine / plain for mine, plain in zip(own, seconds["plain"], strict=True))
        told = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{way:18} {statistics.median(own) / len(jobs):7.2f} CPU s per adapter, {told} x plain", flush=True)


if __name__ == "__main__":
    file, gang, rounds = (*sys.argv[1:], *["examples/quickstart/study.yaml", "11", "3"][len(sys.argv) - 1 :])
    main(file, int(gang), int(rounds))
