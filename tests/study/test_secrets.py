"""Secrets by name and by shape; what studies are made of is none."""

from __future__ import annotations

import traceback

import pytest

from study import secrets
from study.config.file import load, parse
from study.errors import ConfigError
from tests.support.tiny_world import REPOSITORY

TEXT = "models: [{id: a}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}'}]"
FOUND = [
    "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENG@bucket/study",
    "s3://key:secret@bucket/study",
    "s3://bucket/study?secret_key=abc&region=x",
    "https://user:pass@host/model",
    "hf_AbCdEfGhIjKlMnOpQrStUvWx",
    "sk-proj-AbCdEfGhIjKlMnOpQrSt",
    "ghp_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
]
HARMLESS = [
    "s3://bucket/study?region=eu-west-1&endpoint_override=http://127.0.0.1:9000",
    "gs://bucket/study",
    "0123456789abcdef0123456789abcdef01234567",  # a revision
    "meta-llama/Llama-3.2-1B-Instruct",
    "Q: {{question}}\nA:",
    "sk-SK",
    "mailto:a@b",
]


@pytest.mark.parametrize("secret", FOUND)
def test_a_secret_in_a_config_is_refused_and_not_repeated(secret: str) -> None:
    """`store: s3://KEY:SECRET@…` came into study.yaml, the process title and every log line."""
    quoted = repr(secret).replace("\\n", " ")
    for override in ("store", "models.0.id", "tasks.0.train.doc_to_text", "training.deepspeed.x"):
        with pytest.raises(ConfigError) as refused:
            parse(TEXT, [f"{override}={quoted}"])
        said = "".join(traceback.format_exception_only(refused.value))
        assert secret not in said
        assert secret[10:] not in said


@pytest.mark.parametrize("secret", FOUND)
def test_a_secret_that_another_override_replaces_or_that_is_wrong_is_not_repeated(secret: str) -> None:
    """The overrides are the job's command line, all of them; and an error quoted a value before it was looked at."""
    quoted = repr(secret).replace("\\n", " ")
    replaced = [[f"store={quoted}", "store=s3://b/x"], [f"store.x={quoted}"], [f"languages.9={quoted}"], [f"={quoted}"]]
    for overrides in [*replaced, [f"store=[{quoted}"], [quoted]]:
        with pytest.raises(ConfigError, match="which would be written") as refused:
            parse(TEXT, overrides)
        assert secret[10:] not in str(refused.value)
    for text in (f"{TEXT}\nseeds: {quoted}", f"{TEXT}\nrecipe: [{quoted}]"):
        with pytest.raises(ConfigError, match="which would be written") as refused:
            parse(text)
        assert secret[10:] not in str(refused.value)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_studies_are_made_of_is_no_secret(text: str) -> None:
    assert secrets.shape_of(text) is None


def test_the_studies_here_hold_none() -> None:
    files = [file for file in (REPOSITORY / "examples").glob("*/[!_]*.yaml") if ".sizes" not in file.name]
    assert [load(file) for file in files]


def test_names_that_hold_secrets() -> None:
    hold = [
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "WANDB_API_KEY",
        "DB_PASSWORD",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "KEY",
    ]
    hold += ["MY_AUTH", "GH_PAT", "AZURE_STORAGE_CONNECTION_STRING", "HTTPS_PROXY", "SENTRY_DSN", "OPENAI_APIKEY"]
    assert [name for name in hold if not secrets.is_name(name)] == []
    none = [
        "HF_HUB_OFFLINE",
        "TOKENIZERS_PARALLELISM",
        "CUDA_VISIBLE_DEVICES",
        "MAX_TOKENS",
        "KEYBOARD",
        "PATH",
        "PYTHONPATH",
    ]
    assert [name for name in none if secrets.is_name(name)] == []
