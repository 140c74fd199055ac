"""What is published of a study: adapters that PEFT, vLLM and LoRAX load, cards, results as a data set; and the push."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from socket import socket

import polars as pl
import pytest
import yaml

import analysis
from analysis import publish
from analysis.publishing import licences, making, origins, serving
from analysis.publishing.names import adapter_names
from analysis.publishing.tree import MARK
from analysis.statistics.regimes import regime_summary
from study.errors import ConfigError
from study.store import schema
from study.store.layout import ITEMS, adapter_folder
from study.store.records import StudyFile
from study.store.store import Store
from tests.evaluators.conftest import make_adapter
from tests.support.pushed import TOKEN, Taken, taking
from tests.support.rows import record_of
from tests.support.synth import Shape, ident, write_store

SHAPE = Shape(tasks=("names", "sums"), languages=("de", "en"), seeds=(1, 2), items=60)
STUDY = """
config:
  study: my study
  models: [{id: org/tiny-1B}]
  tasks: [{name: names, lm_eval: "names_{language}"}, {name: sums, lm_eval: "sums_{language}"}]
models: [{name: tiny-1B, revision: abc, params: 30000}]
"""


@pytest.fixture(scope="module")
def local(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real adapter, which stands for all."""
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]  # as our trainers name them
    return make_adapter(tiny_model_dir, tmp_path_factory.mktemp("adapter"), 1, target_modules=modules, r=8)


@pytest.fixture(scope="module")
def store(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return with_adapters(tmp_path_factory.mktemp("published") / "store", SHAPE, local)


def with_adapters(place: Path, shape: Shape, local: Path) -> Store:
    made = write_store(place, shape)
    for task in shape.tasks:
        for language in shape.languages:
            for seed in shape.seeds:
                name = ident(shape.seed, "tiny-1B", (task, language), seed)
                own = {"model": "tiny-1B", "source": [f"{task}/{language}"], "seed": seed, "steps": 7, "best_epoch": 1}
                epochs = [{"epoch": 1, "train_loss": 2.0, "validation_loss": 1.5, "learning_rate": 1e-3}]
                record = record_of(name, **own, epochs=epochs, recipe={"lora": {"r": 8, "alpha": 8.0}})
                made.put_adapter(adapter_folder("tiny-1B", task, language, seed, name), local, record)
    made.write("study.yaml", STUDY.encode())
    return made


@pytest.fixture(scope="module")
def written(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "hub"
    assert publish.main([store.uri, "--to", str(out), "--licence", "apache-2.0"]) == 0
    return out


def published_as(task: str, language: str, seed: int = 1) -> str:
    """What an adapter of SHAPE is published as: the end is how its id begins."""
    return f"my-study-tiny-1B-{task}-{language}-seed{seed}-{ident(0, 'tiny-1B', (task, language), seed)[:8]}"


def card(folder: Path) -> tuple[dict[str, object], str]:
    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def test_every_adapter_is_a_repository_with_the_files_of_the_store(written: Path, local: Path) -> None:
    names = sorted(path.name for path in (written / "adapters").iterdir())
    assert len(names) == 8
    assert names[0] == published_as("names", "de")
    for name in names:
        folder = written / "adapters" / name
        kept = {path.name for path in folder.iterdir()}
        assert kept == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            assert (folder / file).read_bytes() == (local / file).read_bytes()


def test_a_card_says_what_it_harms_and_helps_with_intervals(store: Store, written: Path) -> None:
    tests = analysis.open(store.uri).tables["significance"]
    called = 0
    for task in SHAPE.tasks:
        keys, body = card(written / "adapters" / published_as(task, "en"))
        mine = tests.filter(pl.col("source_task") == task, pl.col("source_language") == "en")
        assert (keys["base_model"], keys["base_model_relation"], keys["license"]) == (
            "org/tiny-1B",
            "adapter",
            "apache-2.0",
        )
        assert (keys["library_name"], keys["language"]) == ("peft", ["en"])
        parts = dict(re.findall(r"## (.*?)\n\n(.*?)(?=\n## |\Z)", body, re.DOTALL))
        assert list(parts) == [
            *("What not to trust", "What it harms", "What it helps", "How it was trained"),
            *("Base, data and licences", "How to load it"),
        ]
        assert "means over 2 seeds" in parts["What not to trust"]
        for column, part in (("worse", "What it harms"), ("better", "What it helps")):
            head = parts[part].partition("Means:")[0]
            for row in mine.filter(column).iter_rows(named=True):
                delta, low, high = (f"{row[name]:+.2f}".replace("-", "−") for name in ("delta", "low", "high"))
                target = f"{row['target_task']}/{row['target_language']}"
                line = f"| {target} | {row['regime']} | accuracy | {delta} | pp | {low} | {high} | {row['n_items']} |"
                assert line in head
                called += 1
            assert head.count(" | accuracy | ") == mine.filter(column).height
        assert body.count(f"| {task}/de |") >= 1
        assert "kept is epoch 1" in parts["How it was trained"]
        assert "lora.alpha | 8.0" in parts["How it was trained"]
        assert "licence not known here" in parts["Base, data and licences"]
        load = parts["How to load it"]
        assert "vllm serve org/tiny-1B --revision abc --enable-lora --lora-modules mine=PATH" in load
        assert "lorax-launcher --model-id org/tiny-1B --revision abc " in load
        assert 'from_pretrained("org/tiny-1B", revision="abc")' in load
    assert called  # some cell of this store is called


def test_adapters_load_in_peft(written: Path, tiny_model_dir: Path, local: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    folder = next((written / "adapters").iterdir())
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model_dir), folder)
    weights = load_file(local / "adapter_model.safetensors")
    there = {name.replace(".default", ""): value for name, value in loaded.state_dict().items() if "lora_" in name}
    assert there.keys() == weights.keys()
    assert all(there[name].equal(value) for name, value in weights.items())


def test_adapters_are_as_vllm_and_lorax_read_them(written: Path) -> None:
    """By vLLM's `parse_fine_tuned_lora_name` and `check_unexpected_modules`, and LoRAX's `map_weights_for_model`."""
    from safetensors import safe_open

    folder = next((written / "adapters").iterdir())
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert {"r", "lora_alpha", "target_modules"} <= config.keys()
    assert serving.by_vllm(config) is None
    assert serving.by_lorax(config) is None
    sides: dict[str, set[str]] = {}
    with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            parts = name.split(".")
            assert parts[:2] == ["base_model", "model"]
            assert (parts[-1], parts[-2] in ("lora_A", "lora_B")) == ("weight", True)
            assert parts[-3] in config["target_modules"]
            sides.setdefault(".".join(parts[2:-2]), set()).add(parts[-2])
            assert file.get_slice(name).get_shape()[parts[-2] == "lora_B"] == config["r"]
    assert all(found == {"lora_A", "lora_B"} for found in sides.values())
    layers = {name.split(".")[2] for name in sides}
    assert all(f"model.layers.{layer}.{inner}" in sides for layer in layers for inner in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "vllm", "lorax"),
    [
        ({}, None, None),
        ({"use_dora": True}, "DoRA", "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save", "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, None, "of their own"),
        ({"alpha_pattern": {"q_proj": 2}}, None, "of their own"),
        ({"rank_pattern": {"q_proj": 1024}}, "1024", "1024"),
        ({"r": 24}, None, "24"),
        ({"r": 8}, None, None),
        ({"bias": "all"}, "biases", "biases"),
        ({"r": 1024}, "1024", "1024"),
        ({"peft_type": "IA3"}, "IA3", "IA3"),
    ],
)
def test_what_they_do_not_load_is_said(change: dict[str, object], vllm: str | None, lorax: str | None) -> None:
    config = {"peft_type": "LORA", "r": 64, "bias": "none", "use_dora": False} | change
    for found, said in ((serving.by_vllm(config), vllm), (serving.by_lorax(config), lorax)):
        assert found is None if said is None else said in str(found)


def test_vllm_is_told_of_large_ranks() -> None:
    assert serving.rank_option({"r": 16}) == ""
    assert serving.rank_option({"r": 48}) == " --max-lora-rank 64"
    assert serving.rank_option({"r": 8, "rank_pattern": {"q_proj": 192}}) == " --max-lora-rank 256"


def test_results_load_as_a_data_set(
    store: Store, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    keys, body = card(written / "results")
    study = analysis.open(store.uri)
    named = {one["config_name"]: one["data_files"] for one in keys["configs"]}  # type: ignore[index, attr-defined]
    assert set(named) == {path.stem for path in (written / "results").glob("*.parquet")}
    for name, rows in (("transfer", study.transfer.height), ("items", 9 * 4 * 60), ("scores", study.scores.height)):
        loaded = datasets.load_dataset(str(written / "results"), name, split="train", cache_dir=str(tmp_path))
        assert loaded.num_rows == rows
        assert f"{name}.parquet, {rows:,} rows" in body
    assert "headline Δ" in body
    assert "Effect: " in body
    assert "Written by crosscells " in body
    assert "Data of names: lm-eval task names" in body
    assert "MT-CL: same task, other language" in body
    (about,) = re.findall(r"### harm_breakdown\n\n(.*)\n", body)
    assert about.startswith("Where transfer within a task harms: of MT-CL rows. How often")
    assert "Click" not in about
    found = pl.read_parquet(written / "results" / "adapters.parquet")
    assert set(found["repository"]) == {path.name for path in (written / "adapters").iterdir()}
    assert "| repository | String |" in body
    assert pl.read_parquet(written / "results" / "transfer.parquet").equals(study.transfer)


def test_only_some_sources(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish.main([store.uri, "--to", str(tmp_path / "x"), "--sources", "names/fr"]) == 2
    assert "one of names/en, names/de, sums/de, sums/en" in capsys.readouterr().err  # what is nearly it first
    assert not (tmp_path / "x").exists()
    for sources, count in (("names/de,sums/en", 4), ("sums/en", 2)):
        assert publish.main([store.uri, "--to", str(tmp_path / "x"), "--sources", sources, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (len(told["repositories"]), told["pushed"]) == (count + 1, [])
        assert len(list((tmp_path / "x" / "adapters").iterdir())) == count


def test_a_folder_that_is_not_ours_is_left_alone(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    (tmp_path / MARK).write_text("{}")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        assert publish.main([store.uri, "--to", str(folder)]) == 2
        assert "--to" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", MARK]
    assert publish.main([store.uri, "--to", str(tmp_path / "y"), "--public"]) == 2


def test_a_card_names_targets_in_doubt(local: Path, tmp_path: Path) -> None:
    store = with_adapters(tmp_path / "s", replace(SHAPE, tasks=("t", "u"), seeds=(1,), items=40, options=3), local)
    assert publish.main([store.uri, "--to", str(tmp_path / "x"), "--sources", "t/de"]) == 0
    health = analysis.open(store.uri).tables["health"]
    checks = health.group_by("target_task", "target_language").agg(pl.col("check").sort()).rows()
    _, body = card(tmp_path / "x" / "adapters" / published_as("t", "de"))
    parts = dict(re.findall(r"## (.*?)\n\n(.*?)(?=\n## |\Z)", body, re.DOTALL))
    assert checks
    for task, language, found in checks:
        assert f"{task}/{language} ({', '.join(found)})" in parts["What not to trust"].replace("\\", "")
        every = parts["What it helps"].partition("Every target")[2].splitlines()
        (row,) = (line for line in every if line.startswith(f"| {task}/{language} |"))
        assert row.endswith(f" | {', '.join(found)} |")
    assert f"{len(checks)} target" in parts["What not to trust"]


def test_a_card_says_how_sure_the_mean_of_each_regime_is(store: Store, written: Path) -> None:
    study = analysis.open(store.uri)
    _, body = card(written / "adapters" / published_as("names", "en"))
    parts = dict(re.findall(r"## (.*?)\n\n(.*?)(?=\n## |\Z)", body, re.DOTALL))
    assert "MT-CL: same task, other language" in body
    mine = study.transfer.filter(
        pl.col("source_task") == "names", pl.col("source_language") == "en", pl.col("regime") == "CT-CL"
    )
    (one,) = regime_summary(mine, study.study.grids).filter(pl.col("regime") == "CT-CL").iter_rows(named=True)
    mean, low, high = (f"{one[name]:+.2f}".replace("-", "−") for name in ("mean", "low", "high"))
    line = f"| CT-CL | other task and language | accuracy | {mine.height} | {mean} | pp | {low} | {high} |"
    assert line in parts["What it helps"]


def test_a_base_that_was_quantised_is_loaded_so(store: Store, tmp_path: Path) -> None:
    before = store.read("study.yaml")
    try:
        store.write("study.yaml", STUDY.replace("{id: org/tiny-1B", "{quantization: nf4, id: org/tiny-1B").encode())
        assert publish.main([store.uri, "--to", str(tmp_path / "x"), "--sources", "names/de,"]) == 0
    finally:
        store.write("study.yaml", before)
    _, body = card(tmp_path / "x" / "adapters" / published_as("names", "de"))
    assert 'packed = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")\nbase = ' in body
    assert 'from_pretrained("org/tiny-1B", revision="abc", quantization_config=packed)' in body


def test_a_base_in_a_folder_has_no_name_that_the_hub_would_resolve(store: Store, tmp_path: Path) -> None:
    before = store.read("study.yaml")
    try:
        store.write(
            "study.yaml", STUDY.replace("org/tiny-1B", "/models/tiny-1B").replace("revision: abc, ", "").encode()
        )
        assert publish.main([store.uri, "--to", str(tmp_path / "x"), "--sources", "names/de,"]) == 0
    finally:
        store.write("study.yaml", before)
    keys, body = card(tmp_path / "x" / "adapters" / published_as("names", "de"))
    assert "base_model" not in keys
    assert body.count("FOLDER OF THE BASE") == 3
    assert "Base: tiny-1B, licence not known here." in body


def test_what_would_go_elsewhere_or_says_nothing_is_refused_before_anything_is_made(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for options, said in (
        (["--to", "s3://bucket/x"], "no folder of this machine"),
        (["--to", "x", "--licence", "apache2"], "apache-2.0"),
        (["--to", "x", "--sources", " ,"], "names nothing"),
    ):
        assert publish.main([store.uri, *options]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert {"mit", "openrail++", "llama3.1", "other"} <= licences.IDS


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """As if the disk had room for so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_broke_off_is_written_anew(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hub"
    command = [store.uri, "--to", str(out), "--sources", "names/de"]
    for size in (10, 1_000, 9_000):  # the mark, an adapter, a table
        with small_files(size):
            assert publish.main(command) == 2
        said = capsys.readouterr().err
        assert f"--to = '{out}'" in said
        assert "too large" in said
    assert (out / "adapters").is_dir()
    assert publish.main(command) == 0
    assert json.loads((out / MARK).read_text())["repositories"]
    with small_files(1_000):
        assert publish.main(command) == 2
    assert json.loads((out / MARK).read_text())["repositories"] == []  # not what is no longer there


def test_names_are_those_that_the_hub_allows() -> None:
    from huggingface_hub.utils import validate_repo_id

    odd = [record_of(f"{i:08x}{0:08x}", source=[f"a--b..c/{'ü' * 3}{'x' * 90}"], seed=1) for i in range(2)]
    names = adapter_names("été / my..study.git", odd)
    assert len(set(names.values())) == 2
    for name in names.values():
        validate_repo_id(f"owner/{name}")


def test_a_name_does_not_hang_on_what_else_is_published() -> None:
    """Two of one source and seed, of two recipes, say: the name of one is the same with and without the other."""
    one, other = (record_of(f"{i}" * 16, source=["names/de"], seed=1) for i in range(2))
    alone = adapter_names("s", [one]) | adapter_names("s", [other])
    assert adapter_names("s", [one, other]) == alone
    assert len(set(alone.values())) == 2


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    from huggingface_hub import constants

    with taking() as taken:
        monkeypatch.setattr(constants, "ENDPOINT", taken.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield taken


def test_what_is_pushed_is_what_the_folder_holds(
    store: Store, tmp_path: Path, hub: Taken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A push that breaks off goes on; a name that somebody has is refused before anything is made; so is no token."""
    from huggingface_hub import constants

    out = tmp_path / "hub"
    command = [store.uri, "--to", str(out), "--sources", "names/de", "--hub", "owner"]
    hub.private[f"models/owner/{published_as('names', 'de', 2)}"] = True
    assert publish.main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert list(hub.files) == []
    hub.private.clear()
    hub.full = 2
    assert publish.main(command) == 2
    assert "403" in capsys.readouterr().err
    hub.full = 9
    assert publish.main(command) == 0
    capsys.readouterr()
    assert hub.private == dict.fromkeys(hub.files, True)
    _, body = card(out / "adapters" / published_as("names", "de"))
    assert f"mine=owner/{published_as('names', 'de')}\n" in body
    assert '"owner/my-study-results"' in card(out / "results")[1]
    assert len(hub.files) == 3
    for name, files in hub.files.items():
        kind, _, repository = name.partition("/owner/")
        folder = out / "results" if kind == "datasets" else out / "adapters" / repository
        assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert publish.main([*command[:2], str(tmp_path / "z"), *command[3:-1], "other"]) == 2
    said = capsys.readouterr().err
    assert "--hub = 'other'" in said
    assert "wrong" not in said
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert publish.main(command) == 2
    assert "the Hub does not answer" in capsys.readouterr().err


def test_a_lost_answer_takes_no_name_and_what_is_there_is_brought_up_to_date(
    store: Store, tmp_path: Path, hub: Taken, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made without our knowing was refused as another's; --public was passed over for what was there.

    Files that are no longer made stayed; what somebody has put beside ours stays.
    """
    command = [store.uri, "--to", str(tmp_path / "hub"), "--sources", "names/de", "--hub", "owner"]
    hub.silent = True
    assert publish.main(command) == 2
    assert "does not answer" in capsys.readouterr().err
    assert len(hub.private) == 1
    hub.silent = False
    assert publish.main(command) == 0
    assert list(hub.private.values()) == [True] * 3
    results = hub.files["datasets/owner/my-study-results"]
    before = dict(results)
    results |= {"gone.parquet": b"x", "LICENSE": b"mine"}
    assert publish.main([*command, "--public"]) == 0
    assert list(hub.private.values()) == [False] * 3
    assert results.keys() == {*before, "LICENSE"}


def test_origins_are_those_that_a_config_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and tables by language were "the study's own"; a folder of one's own was a data set of the Hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "in-de").mkdir()
    of_hub, by_language = {"dataset_path": "org/{language}-news"}, {"de": "org/a", "fr": "org/b"}
    config: dict[str, object] = {
        "texts": [
            {"name": "prose", "data": of_hub},
            {"name": "files", "data": {"de": "hf://datasets/org/raw@main/x.txt", "fr": "data/x.txt"}},
        ],
        "tasks": [
            {"name": "table", "lm_eval": {"de": "t_de", "en": "t_en"}, "train": {"dataset_path": by_language}},
            {"name": "here", "lm_eval": "here_{language}", "train": {"dataset_path": "data/mine"}},
            {"name": "there", "train": {"dataset_path": "data/in-{language}"}},
            {"name": "rows", "train": {"dataset_path": "json", "data_files": "rows.jsonl"}},
            {"name": "plain", "train": {"dataset_path": "squad"}},
        ],
    }
    known, page = "licence not known here", "; see its page on the Hub"
    cases: list[tuple[dict[str, list[str]], list[str]]] = [
        ({"prose": ["de", "fr"]}, [f"data set org/{one}-news, {known}{page}" for one in ("de", "fr")]),
        ({"prose": []}, [f"data set org/{{language}}-news, {known}{page}"]),
        ({"files": ["de"]}, [f"data set org/raw, {known}{page}"]),
        ({"files": ["fr"]}, [f"the study's own, {known}"]),
        ({"table": ["de"]}, [f"data set org/a, {known}{page}"]),
        ({"table": ["en"]}, [f"lm-eval task t_en, {known}; see what is read there"]),
        ({"here": ["de"]}, [f"the study's own, {known}"]),
        ({"there": ["de"]}, [f"the study's own, {known}"]),
        ({"there": []}, [f"the study's own, {known}"]),
        ({"rows": ["de"]}, [f"the study's own, {known}"]),
        ({"plain": ["de"]}, [f"data set squad, {known}{page}"]),
        (
            {"table": []},
            [
                *(f"data set org/{one}, {known}{page}" for one in "ab"),
                f"lm-eval task t_de, t_en, {known}; see what is read there",
            ],
        ),
    ]
    for learned, lines in cases:
        told = origins.data_of(StudyFile(config), learned, ask=False)
        (task,) = learned
        assert told == [f"Data of {task}: {line}." for line in lines]


def test_a_stage_has_what_it_began_with_learned(store: Store, local: Path, tmp_path: Path) -> None:
    """Its card said nothing of it. A start that is not scored is an adapter that was trained, and is published."""
    own = with_adapters(tmp_path / "s", replace(SHAPE, seeds=(1,), items=20), local)
    texts = "  texts: [{name: prose, data: {dataset_path: org/prose}}]\n"
    own.write("study.yaml", STUDY.replace("  models:", f"{texts}  models:", 1).encode())
    (folder,) = (one.folder for one in own.records().values() if one.source == ("names/en",))
    staged = own.records()[folder.rpartition("-")[2]]
    ready = {"name": "first", "start": "ready", "start_id": "f" * 16, "before": []}
    then = {"name": "then", "start": "prose/fr@first", "start_id": "e" * 16, "before": ["prose/fr"]}
    then |= {"change": "its data are mt.jsonl"}
    first = record_of("e" * 16, model="tiny-1B", source=["prose/fr"], seed=1, stage=ready)
    own.put_adapter(adapter_folder("tiny-1B", "prose", "fr", 1, "e" * 16), local, first)
    own.write(f"{folder}/record.json", json.dumps({**staged.to_json(), "stage": then}).encode())
    grid = own.read_grid()
    assert grid is not None
    line = (staged.adapter_id, "e" * 16, "f" * 16)
    begun: list[dict[str, object]] = [
        {"adapter_id": one, "model": "tiny-1B", "start_id": start} for one, start in pairwise(line)
    ]
    own.write_grid(*grid, starts=schema.table(schema.STARTS, begun))
    to = tmp_path / "x"
    assert publish.main([own.uri, "--to", str(to), "--sources", "names/en@then,prose/fr@first"]) == 0
    (name,) = (path for path in (to / "adapters").iterdir() if "then" in path.name)
    keys, body = card(name)
    assert keys["language"] == ["en", "fr"]
    assert "Data of prose: data set org/prose, licence not known here" in body
    assert "Data of names: lm-eval task names\\_en" in body
    assert "These data were changed: its data are mt.jsonl. The licence of a file named here is not known" in body
    assert "It begins with the adapter ready, which was not trained here" in body
    (name,) = (path for path in (to / "adapters").iterdir() if "first" in path.name)
    assert "It has not been scored" in card(name)[1]


def test_what_is_damaged_is_a_line(local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where Polars asks for the rows while it writes them; and a disk that is full just then."""
    own = with_adapters(tmp_path / "s", replace(SHAPE, tasks=("t",), seeds=(1,), items=400), local)
    command = [own.uri, "--to", str(tmp_path / "x")]
    assert publish.main(command) == 0
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "x").rglob("*") if path.is_file()}
    largest = max(size for name, size in sizes.items() if name != "items.parquet")
    assert sizes["items.parquet"] > largest + 10
    with small_files(largest + 1):
        assert publish.main(command) == 2
    assert "--to = " in capsys.readouterr().err
    opened = analysis.open(own.uri)
    _ = opened.study, opened.scores
    Path(own.path(own.files(ITEMS, ".parquet")[0])).write_bytes(b"x")
    with pytest.raises(ConfigError, match="damaged file"):
        making.make(opened, tmp_path / "y", making.Wish())
