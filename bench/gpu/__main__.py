"""`python -m bench.gpu core`: what needs torch, transformers and peft alone. Without `core`, all; see the package."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from bench.gpu.checks import gangs, memory, parity, placement, waits
from bench.gpu.flash import flash
from bench.gpu.kit import Kit
from bench.gpu.quantised import quantised
from bench.gpu.speeds import speeds
from bench.gpu.split import split

CORE = {"placement": placement, "parity": parity, "gang": gangs, "memory": memory, "waits": waits}
CORE |= {"quantised": quantised, "flash": flash, "split": split, "speed": speeds}


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cpu" and not options.tiny:
        print("there is no GPU here: `--tiny` tries the kit on a CPU, and says nothing of speed", file=sys.stderr)
        return 2
    kit = Kit(device, options.tiny, time.monotonic() + 60 * options.minutes)
    parts = dict(CORE)
    if options.what == "all":
        from bench.gpu.beside import BESIDE

        parts = {**{name: CORE[name] for name in CORE if name != "speed"}, **BESIDE, "speed": speeds}
    for name, work in parts.items():
        kit.run(name, work)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(kit.as_json(), indent=1) + "\n")
    (options.out / "gpu.md").write_text(kit.as_markdown())
    failed = [line for line in kit.lines if line.holds is False]
    print(f"{len(kit.lines)} lines in {options.out}/gpu.json and gpu.md, {len(failed)} of them not as they have to be")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("core", "all"), default="all")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="folder of the JSON and the table")
    parser.add_argument("--minutes", type=float, default=10, help="after which no new part is begun")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, on a CPU, too: to try the kit itself")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
