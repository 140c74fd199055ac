"""Pushes a tree to the Hub: each folder as a repository of its own, new ones only.

The token is huggingface_hub's own affair (HF_TOKEN, or `hf auth login`). Nothing is made before it is known that no
name is taken. A name is written down as the tree's before its repository is made, since the answer may be lost, so that
a push that broke off goes on when it is asked for again. Tables and weights there that the tree has not are removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from analysis.publishing.tree import Repository, Tree
from study.errors import ConfigError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MADE = {"model": ["*.safetensors", "*.json"], "dataset": ["*.parquet"]}  # files that are ours, of what may be there


def push(tree: Tree, owner: str, public: bool) -> list[str]:
    """Make the repositories of a tree, or bring those it has made up to date. Their addresses; ConfigError else."""
    from huggingface_hub import HfApi

    api = HfApi()
    names = {f"{owner}/{one.name}": one for one in tree.repositories}
    with _refusals(owner):
        for name, one in names.items():
            if name not in tree.pushed and api.repo_exists(name, repo_type=one.kind):
                fix = "rename it there, or give the study another name (`study` of its config)"
                raise ConfigError("--hub", name, "is there already, and not of this folder", fix)
        found = []
        for name, one in names.items():
            _make(api, tree, name, one, public)
            said = api.upload_folder(
                repo_id=name,
                repo_type=one.kind,
                folder_path=tree.root / one.folder,
                commit_message="Written by crosscells",
                delete_patterns=MADE[one.kind],
            )
            found.append(said.repo_url.url if hasattr(said, "repo_url") else name)
    return found


def _make(api: HfApi, tree: Tree, name: str, one: Repository, public: bool) -> None:
    """Make a repository where it is not there; one that is there is made public where that is asked for."""
    from huggingface_hub.errors import HfHubHTTPError

    if name in tree.pushed:
        api.create_repo(name, repo_type=one.kind, private=not public, exist_ok=True)
        if public:
            api.update_repo_settings(name, repo_type=one.kind, private=False)
        return
    tree.pushed.append(name)
    tree.keep()
    try:
        api.create_repo(name, repo_type=one.kind, private=not public)
    except HfHubHTTPError as error:
        if error.response.status_code < 500:  # it was not made; else nobody knows
            tree.pushed.remove(name)
            tree.keep()
        raise


@contextmanager
def _refusals(owner: str) -> Iterator[None]:
    """What the Hub says no to, in a line."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalTokenNotFoundError,
    )

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise ConfigError("--hub", owner, "there is no token", "set HF_TOKEN, or run `hf auth login`") from error
    except HFValidationError as error:
        raise ConfigError("--hub", owner, str(error), "name a user or an organisation of the Hub") from error
    except HfHubHTTPError as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError("--hub", owner, why, "see that the token may write there (`hf auth whoami`)") from error
    except (HTTPError, OSError) as error:
        raise ConfigError(
            "--hub", owner, f"the Hub does not answer: {error}", "check the network, and ask again: it goes on"
        ) from error
