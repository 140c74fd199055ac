"""What a config asks for, {CPU, GPU, …}, as Ray's options of an actor."""

from __future__ import annotations

from collections.abc import Mapping


def as_options(wanted: Mapping[str, float]) -> dict[str, object]:
    """Ray has names of its own for CPUs and GPUs; everything else is one of its `resources`."""
    others = {name: amount for name, amount in wanted.items() if name not in ("CPU", "GPU")}
    return {"num_cpus": wanted.get("CPU", 0), "num_gpus": wanted.get("GPU", 0), "resources": others}
