"""Secrets of a bot under test, as variables of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from errklein.verify import parse_reference


@contextmanager
def environment(secrets: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment in a `with` block, by name.

    :raises ValueError: A name is invalid, such as "env:GH_SECRET" instead of "GH_SECRET".
    """
    for name in secrets:
        try:
            parse_reference(f"env:{name}")
        except ValueError:
            raise ValueError(f"secrets: invalid name {name!r}; expected a variable such as 'GH_SECRET'") from None
    earlier = {name: os.environ.get(name) for name in secrets}
    os.environ.update(secrets)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
