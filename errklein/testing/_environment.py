"""Secrets of a bot under test, as variables of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from unittest.mock import patch


@contextmanager
def environment(secrets: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment in a `with` block, by name.

    :raises ValueError: A name is invalid, such as "env:GH_SECRET" instead of "GH_SECRET".
    """
    for name in secrets:
        if not name.isidentifier():
            raise ValueError(f"secrets: invalid name {name!r}; expected a variable such as 'GH_SECRET'")
    # `patch.dict` would also undo what plugins change.
    with patch.dict(os.environ, secrets) if secrets else nullcontext():
        yield
