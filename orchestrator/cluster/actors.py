"""Ray's actors as types: a handle has methods that answer later, by a reference to wait for.

Ray makes handles at run time, so their classes are stated as protocols where they are used; `Actor` is what all have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import ray

Answer = TypeVar("Answer")
Said = TypeVar("Said")


class Method(Protocol[Said]):
    """A method of an actor."""

    def remote(self, *arguments: object) -> ray.ObjectRef[Said]: ...


class Call(Protocol):
    """Runs a function of the actor in the actor's process."""

    def remote(self, function: Callable[[object], Answer]) -> ray.ObjectRef[Answer]: ...


class Actor(Protocol):
    """A handle; Ray's own tables know the actor by its id."""

    _actor_id: ray.ActorID
    __ray_call__: Call


def start_actor(actor: type, *arguments: object, **options: object) -> Any:
    """A handle of a new actor of this class, with Ray's `options`."""
    remote: Any = ray.remote(actor)
    return remote.options(**options).remote(*arguments)


def kill(actor: Actor) -> None:
    """End an actor's process at once."""
    ray.kill(actor)  # type: ignore[arg-type]  # a handle, which the protocol stands for
