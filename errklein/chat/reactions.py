"""A thumb up, or whatever else people put on messages instead of answering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errklein.chat.identifiers import Identifier

REACTION_ADDED = "added"
REACTION_REMOVED = "removed"


# Each happens once: two of them are never the same, and networks put what they like into `reacted_to`.
@dataclass(frozen=True, eq=False)
class Reaction:
    """Somebody's reaction: `reaction_name`, such as "thumbsup", which `reactor` has put on something or taken away.

    `action` is REACTION_ADDED or REACTION_REMOVED; `timestamp` and `reacted_to`, what was reacted to, are as the network
    has them; `reacted_to_owner` is whose that was. Raises ValueError without a reactor or a name.
    """

    reactor: Identifier | None = None
    reacted_to_owner: Identifier | None = None
    action: str | None = None
    timestamp: str | None = None
    reaction_name: str | None = None
    reacted_to: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.reactor is None:
            raise ValueError("a reaction needs a reactor, who reacts")
        if self.reaction_name is None:
            raise ValueError("a reaction needs a reaction_name, such as thumbsup")

    def __str__(self) -> str:
        return f"{self.reaction_name} {self.action or 'shown'} by {self.reactor}"
