"""The table of all schemes by name, for settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from errklein.text.suggestions import did_you_mean
from errklein.verify._bearer import bearer
from errklein.verify._github import github
from errklein.verify._slack import slack
from errklein.verify._verification import Verification

SCHEMES: Mapping[str, Callable[..., Verification]] = {scheme.__name__: scheme for scheme in (bearer, github, slack)}
"""The functions that return a verification, by the name of the scheme."""


def verification(scheme: str, /, **options: Any) -> Verification:
    """Return the verification of a scheme with these options, as `github(secret="env:GH_SECRET")` does.

    :raises ValueError: The scheme or an option is unknown, missing or invalid. The text has the valid names.
    """
    factory = SCHEMES.get(scheme) if isinstance(scheme, str) else None
    if factory is None:
        known = ", ".join(sorted(SCHEMES))
        raise ValueError(
            f"unknown verification: {scheme!r}; expected one of {known}{did_you_mean(str(scheme), SCHEMES)}"
        )
    parameters = inspect.signature(factory).parameters
    for name in options:
        if name not in parameters:
            known = ", ".join(parameters)
            raise ValueError(
                f"unknown option of the verification {scheme}: {name!r}; expected {known}{did_you_mean(name, parameters)}"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ValueError(f"the verification {scheme} needs the option {name!r}")
    return factory(**options)
