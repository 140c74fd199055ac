"""Models of a config, resolved: where each lies, what identifies it, how big it is, which modules LoRA may adapt.

Read from config.json and safetensors headers alone, so that a wrong model is found without importing torch.
A hub model's revision is resolved to a commit; without a network the snapshot in the Hub cache is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from study.bounded import read_mapping
from study.config import ModelConfig, StudyConfig
from study.config.fields import SAFE_NAME, on_gpu
from study.config.recipe import Modules, Recipe
from study.config.recipes import key_of
from study.errors import ConfigError
from study.identity import deciding, digest
from study.models import quantised, shapes
from study.models.hub import MODEL_FILES, refused
from study.models.shapes import Body
from study.store.safetensors_header import header_in

_IDENTITY_FILES = ("*.safetensors", "*.json", "*.model", "*.jinja", "*.txt", "*.py")


@dataclass(frozen=True)
class Model:
    """A base model, resolved. `identity` changes when weights, tokenizer, config, dtype, quantisation or attention do.

    `embedded` of its `params` are embeddings and output heads. `is_mixed`: it has weights that are no matrix of one
    linear module each, as experts and convolutions are, or that are used again. `adapts` are, by what a recipe calls
    them, the modules that it trains, where the first release trained others of this model; it is for planning to find
    out. `layers` counts its decoder layers. `quantization` is what its linear modules hold, by the config or in its
    folder already.
    """

    name: str
    path: str
    revision: str | None
    identity: str
    dtype: str
    family: str
    size_billions: float
    params: int
    trust_remote_code: bool
    modules: tuple[str, ...]
    embedded: int = 0
    is_mixed: bool = False
    adapts: tuple[tuple[Modules, tuple[str, ...]], ...] = ()
    layers: int = 0
    body: Body = field(default_factory=Body)
    quantization: str | None = None
    attention: str | None = None  # the implementation asked for; else what transformers takes

    @property
    def bytes(self) -> int:
        """What its weights hold in memory."""
        each, body = (4 if self.dtype == "float32" else 2), self.params - self.embedded
        return round(self.embedded * each + body * quantised.BYTES.get(self.quantization or "", each))

    def adapted(self, recipe: Recipe) -> tuple[str, ...]:
        """The modules that a recipe trains, where they are others than in the first release."""
        return dict(self.adapts).get(recipe.low_rank.modules, ()) if recipe.low_rank else ()


def resolve_all(config: StudyConfig) -> list[Model]:
    """Resolve every model of the study. Raises ConfigError for a missing one, one that is none, or lacks a module."""
    models = [resolve(entry, _dtype(entry, config), f"models[{i}]") for i, entry in enumerate(config.models)]
    for i, model in enumerate(models):
        if any(other.name == model.name for other in models[:i]):
            raise ConfigError(f"models[{i}].name", model.name, "two models have this name", "give one of them a `name`")
        if same := next((other.name for other in models[:i] if other.identity == model.identity), None):
            raise ConfigError(f"models[{i}].id", model.path, f"is the same model as {same}", "list it once")
        _check_modules(config, model)
    return models


def _dtype(entry: ModelConfig, config: StudyConfig) -> str:
    """Choose the dtype. `auto` goes by the resources asked for, not by this machine: a plan is the same everywhere."""
    if entry.dtype != "auto":
        return entry.dtype
    return "bfloat16" if on_gpu(config.training.resources_per_worker) else "float32"


def resolve(entry: ModelConfig, dtype: str, key: str) -> Model:
    """Resolve one model. Raises ConfigError under the given config key."""
    name = entry.called
    if not SAFE_NAME.fullmatch(name):
        raise ConfigError(f"{key}.id", entry.id, f"its last part {name!r} is no folder name", "give the model a `name`")
    if Path(entry.id).exists() or entry.id.startswith((".", "/", "~")):
        folder = Path(entry.id).expanduser()
        config_json, held = _read_folder(folder, f"{key}.id")
        path, revision, weights = str(folder.resolve()), None, _digest_folder(folder)
    else:
        path = entry.id
        revision, config_json, held = _read_hub(entry, key)
        weights = f"{entry.id}@{revision}"
    _check_causal(config_json, f"{key}.id", entry.id)
    held = quantised.whole(held, config_json)
    how = {"quantization": entry.quantization, "attn_implementation": entry.attn_implementation}
    params, asked = shapes.count(held), deciding("model", how)
    body = shapes.body(held)
    return Model(
        name=name,
        path=path,
        revision=revision,
        identity=digest({"weights": weights, "dtype": dtype, **asked}),
        dtype=dtype,
        family=entry.family or family(name),
        size_billions=entry.size_billions or params / 1e9,
        params=params,
        trust_remote_code=entry.trust_remote_code,
        modules=tuple(one.name for one in body.linear),
        embedded=shapes.embedded(held),
        is_mixed=shapes.is_mixed(held) or shapes.repeats(held, config_json),
        layers=shapes.layers(held),
        body=body,
        quantization=entry.quantization or quantised.stated(config_json),
        attention=entry.attn_implementation,
    )


def _check_causal(config_json: Mapping[str, object], key: str, model: str) -> None:
    """Raise ConfigError for a model whose config.json says that it does not predict each token from those before it.

    Where it does not say so and is none all the same, the loaded model shows it.
    """
    saved_as = config_json.get("architectures")
    names = [str(name) for name in saved_as] if isinstance(saved_as, list) else []
    if config_json.get("is_encoder_decoder"):
        reason = "it has an encoder, and its decoder alone is another model"
    elif not config_json.get("is_decoder") and any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        reason = f"it was saved as {names[0]}, which reads what comes after a token"
    else:
        return
    raise ConfigError(
        key, model, f"is no causal language model: {reason}", "take a model that writes from left to right"
    )


def family(name: str) -> str:
    """Read the family off a name: letters and first version number (Llama-3.2-1B -> Llama-3, Qwen2.5-7B -> Qwen2)."""
    match = re.match(r"[A-Za-z]+-?\d+(?![\d.]*[BbMm]\b)", name)
    return match.group(0) if match else name.split("-")[0]


def _check_modules(config: StudyConfig, model: Model) -> None:
    for name, recipe in config.trained_by.items():
        for module in recipe.named_modules:
            if module not in model.modules:
                raise ConfigError(
                    f"{key_of(name)}.{recipe.modules_key}",
                    module,
                    f"{model.name} has no such module",
                    f"use all-linear, or some of {', '.join(model.modules)}",
                )


def _read_folder(folder: Path, key: str) -> tuple[dict[str, object], dict[str, tuple[int, ...]]]:
    """Read config.json and the shapes of all tensors of a local model folder."""
    if not folder.is_dir():
        raise ConfigError(
            key, folder, f"no such folder (working directory: {Path.cwd()})", "name a model folder or a hub id"
        )
    try:
        config_json = read_mapping((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            key,
            folder,
            "is no model folder: config.json is missing or unreadable",
            "point at a folder made by save_pretrained",
        ) from error
    if "model_type" not in config_json:
        raise ConfigError(key, folder, "its config.json names no model_type", "point at a transformers model folder")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(
            key,
            folder,
            "holds no *.safetensors weights (pickled weights are not read)",
            "save it with save_pretrained(safe_serialization=True)",
        )
    if not any(
        (folder / name).exists()
        for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
    ):
        raise ConfigError(key, folder, "holds no tokenizer", "save the tokenizer beside the model with save_pretrained")
    try:
        return config_json, {name: shape for file in files for name, shape in header_in(file).shapes.items()}
    except (ValueError, OSError) as error:
        raise ConfigError(
            key, folder, f"its weights cannot be read ({error})", "copy the model folder again"
        ) from error


def _digest_folder(folder: Path) -> str:
    """Digest the files that decide what the model computes."""
    files = sorted({file for pattern in _IDENTITY_FILES for file in folder.glob(pattern)})
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as source:
            total.update(f"{file.name}:{hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _read_hub(entry: ModelConfig, key: str) -> tuple[str, dict[str, object], dict[str, tuple[int, ...]]]:
    """Find commit, config.json and tensor shapes of a hub model: on the Hub, else in its cache on this machine."""
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(entry.id)
    except hub.HFValidationError as error:
        problem = f"no such folder, and no id of the Hub either (working directory: {Path.cwd()})"
        raise ConfigError(f"{key}.id", entry.id, problem, "name a model folder or a hub id") from error
    try:
        if constants.HF_HUB_OFFLINE:
            raise hub.OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        commit = HfApi().model_info(entry.id, revision=entry.revision).sha
        # asked for by the branch's name: that is how the cache learns which commit the branch is, for use offline
        config_json = read_mapping(Path(hf_hub_download(entry.id, "config.json", revision=entry.revision)).read_bytes())
        metadata = HfApi().get_safetensors_metadata(entry.id, revision=commit)
        held = {n: tuple(t.shape) for file in metadata.files_metadata.values() for n, t in file.tensors.items()}
        return str(commit), config_json, held
    except (hub.RepositoryNotFoundError, hub.GatedRepoError) as error:
        raise refused(f"{key}.id", entry.id, error) from error
    except hub.RevisionNotFoundError as error:
        fix = "check id and revision, or name a local folder"
        raise ConfigError(f"{key}.id", entry.id, str(error).strip().splitlines()[0], fix) from error
    except hub.NotASafetensorsRepoError as error:
        problem = "has no safetensors weights (pickled weights are not read)"
        raise ConfigError(f"{key}.id", entry.id, problem, "use a safetensors revision") from error
    except ValueError as error:
        raise ConfigError(f"{key}.id", entry.id, f"its config.json cannot be read ({error})", "use another") from error
    except (OSError, hub.HTTPError) as error:
        unreachable = error
    try:
        found = snapshot_download(entry.id, revision=entry.revision, allow_patterns=MODEL_FILES, local_files_only=True)
    except (OSError, hub.LocalEntryNotFoundError) as error:
        raise refused(f"{key}.id", entry.id, unreachable) from error
    folder = Path(found)
    config_json, held = _read_folder(folder, f"{key}.id")
    return folder.name, config_json, held
