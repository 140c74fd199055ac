"""What the parts of the kit share: the device, shapes of models with random weights, and what was found."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evaluators.forward.rows import Request


@dataclass(frozen=True)
class Shape:
    """A Llama by its sizes. `texts` are so many prompts of about `tokens`, each with four answers."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    texts: int
    tokens: int

    def model(self, dtype: torch.dtype, device: torch.device) -> LlamaForCausalLM:
        """One with random weights, wide enough that what it says depends on all of its input."""
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=4096,
            initializer_range=0.02 if self.hidden > 512 else 0.2,
        )
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # made in its precision: a float32 copy of a large one may not fit
        try:
            with torch.device(device):
                torch.manual_seed(0)
                made = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
        return made.eval().requires_grad_(False)

    def requests(self, times: int = 1) -> list[Request]:
        """Four answers to each prompt."""
        draw, found = random.Random(0), []
        for _ in range(self.texts * times):
            prompt = [draw.randrange(3, self.vocabulary) for _ in range(draw.randint(self.tokens // 2, self.tokens))]
            for length in (1, 3, 5, 2):
                answer = [draw.randrange(3, self.vocabulary) for _ in range(length)]
                found.append(Request((*prompt, *answer), length))
        return found


TINY = Shape("tiny", 32, 64, 2, 4, 2, 320, 4, 40)
SMALL = Shape("small", 256, 704, 4, 8, 4, 4096, 12, 300)
LONG = Shape("long", 256, 704, 4, 8, 4, 4096, 4, 1800)
BILLION = Shape("1B", 2048, 8192, 16, 32, 8, 128256, 96, 400)
EIGHT = Shape("8B", 4096, 14336, 32, 32, 8, 128256, 32, 400)


@dataclass
class Line:
    """One thing that was found: a figure with its unit, and whether it is as it has to be; None for a mere figure."""

    part: str
    what: str
    value: float | str
    unit: str = ""
    holds: bool | None = None


@dataclass
class Kit:
    """The device, what to look at, and until when new parts are begun."""

    device: torch.device
    tiny: bool
    until: float
    lines: list[Line] = field(default_factory=list)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def checked(self) -> Shape:
        """What is checked for what is right."""
        return TINY if self.tiny else SMALL

    @property
    def timed(self) -> tuple[Shape, ...]:
        return (TINY,) if self.tiny else (BILLION, EIGHT)

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        return torch.float32, torch.bfloat16

    def tell(self, part: str, what: str, value: float | str, unit: str = "", holds: bool | None = None) -> None:
        self.lines.append(Line(part, what, value, unit, holds))
        mark = {True: "ok  ", False: "FAIL", None: "    "}[holds]
        print(f"{mark} {part}: {what}: {shown(value)} {unit}".rstrip(), flush=True)

    def run(self, part: str, work: Callable[[Kit], None]) -> None:
        """Do a part. One that fails is told, and the others go on; one for which no time is left is named."""
        if time.monotonic() > self.until:
            self.tell(part, "left out", "no time was left")
            return
        try:
            work(self)
        except Exception as error:  # noqa: BLE001 - a kit finds out what a machine does
            self.tell(part, "raised", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", holds=False)
        if self.is_cuda:
            torch.cuda.empty_cache()

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], Any], times: int = 3) -> float:
        """The median of some runs, each with the device done, after one that is not counted."""
        found, times = [], 1 if self.tiny else times
        for _ in range(times + 1):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - began)
        return sorted(found[1:])[times // 2]

    def machine(self) -> dict[str, str]:
        told = {"torch": torch.__version__, "device": str(self.device)}
        if self.is_cuda:
            told["device"] = torch.cuda.get_device_name(self.device)
            told["capability"] = ".".join(map(str, torch.cuda.get_device_capability(self.device)))
            told["memory"] = f"{torch.cuda.mem_get_info(self.device)[1] / 2**30:.0f} GiB"
            told["GPUs"] = str(torch.cuda.device_count())
        return told

    def as_json(self) -> dict[str, Any]:
        return {"machine": self.machine(), "lines": [asdict(line) for line in self.lines]}

    def as_markdown(self) -> str:
        head = ", ".join(f"{name} {value}" for name, value in self.machine().items())
        rows = [
            f"| {line.part} | {line.what} | {shown(line.value)} {line.unit} | "
            f"{ {True: 'yes', False: 'NO', None: ''}[line.holds] } |"
            for line in self.lines
        ]
        return "\n".join([head, "", "| part | what | value | holds |", "|---|---|---:|---|", *rows, ""])


def shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
