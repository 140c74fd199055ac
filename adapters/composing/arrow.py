"""`arrow`: for each token the parts whose strongest direction its hidden state lies along, mixed (2405.11157).

No matrices are that, so no folder can hold it: the parts are put beside the base by PEFT's own modules, on a skeleton.
PEFT stacks the parts of a module, so they need one rank there, and all of them every module that its names mean; their
alphas may differ. A top_k above the number of parts means all of them. PEFT's prototypes start from numbers at random,
here from the composition's `draw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import peft
import torch
from peft import ArrowConfig
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.arrow import create_arrow_model
from transformers import PreTrainedModel

from adapters.base.onednn import use_onednn, without_onednn
from adapters.base.skeleton import skeleton
from adapters.composing.parts import read_parts
from adapters.composing.shares import modules_of
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter
from adapters.folders.targeting import by_peft
from adapters.modules.loaded import one_line
from study.composition import Composition

TOP_K, TEMPERATURE = 3, 1.0  # PEFT's defaults


def arrow_model(base: PreTrainedModel, composition: Composition, folders: Mapping[str, Path]) -> peft.PeftModel:
    """A skeleton of the base with the parts on it and PEFT's router among them.

    `folders` are those of the parts by their adapter_ids. Raises UnsupportedAdapter with the reason.
    """
    parts = read_parts(base, composition.terms, folders)
    check(base, composition, parts)
    config = ArrowConfig(
        top_k=min(composition.top_k or TOP_K, len(parts)),
        router_temperature=composition.temperature or TEMPERATURE,
        rng_seed=composition.draw,
    )
    try:
        model = skeleton(base)
        without_onednn(model)
        paths = [str(folders[term.adapter_id]) for term in composition.terms]
        with torch.random.fork_rng():  # PEFT draws the router's own matrices, which nothing reads
            wrapped: peft.PeftModel = create_arrow_model(model, paths, config, torch_device=str(base.device))
        use_onednn(model)
        for module in wrapped.modules():
            if isinstance(module, LoraLayer):
                module.register_forward_pre_hook(_in_one_piece)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # PEFT builds what the folders' configs say: anything can be raised
        raise UnsupportedAdapter(f"PEFT cannot put these parts on this model: {one_line(error)}") from error
    return wrapped.eval()


def _in_one_piece(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """PEFT's router takes no inputs that lie in memory otherwise, as Mamba's do."""
    return (inputs[0].contiguous(), *inputs[1:])


def check(base: PreTrainedModel, composition: Composition, parts: Sequence[AdapterWeights]) -> None:
    """Raise UnsupportedAdapter where PEFT would stop, or would mean something else."""
    terms = composition.terms
    if weighted := [term for term in terms if term.weight != 1 or term.layers or term.outside != 1]:
        raise UnsupportedAdapter(f"{weighted[0].adapter_id} has a weight, and arrow weighs its parts for each token")
    names = modules_of(parts)
    for term, part in zip(terms, parts, strict=True):
        if missing := sorted(set(names) - part.modules.keys()):
            raise UnsupportedAdapter(
                f"{term.adapter_id} does not adapt {missing[0]}; arrow's parts have the same modules"
            )
    for name in names:
        ranks = {term.adapter_id: len(part.modules[name].a) for term, part in zip(terms, parts, strict=True)}
        if len(set(ranks.values())) > 1:
            told = ", ".join(f"{rank} in {adapter_id}" for adapter_id, rank in ranks.items())
            raise UnsupportedAdapter(f"{name}: its rank is {told}; arrow needs one")
    meant = by_peft(base, sorted({name.rpartition(".")[2] for name in names})).modules
    if others := sorted(set(meant) - set(names)):
        raise UnsupportedAdapter(
            f"the parts do not adapt {others[0]}, which PEFT's router would; adapt all of its name"
        )
