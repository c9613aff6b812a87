"""The errors about webhooks that can't be served, and about their options."""

from __future__ import annotations


class HookError(ValueError):
    """A webhook can't be served. The text is one line that names it, and contains no secret."""


class InvalidOption(ValueError):
    """An option of a webhook is invalid. The arguments are a description of valid values, and the invalid one as it is shown.

    :param given: The invalid value. Of a collection only the type is shown, since it may contain secrets.
    :param hint: Text that follows, such as a suggestion.
    """

    option = ""
    """The name of the option, with which the text begins."""

    def __init__(self, expected: str, given: object, hint: str = "") -> None:
        kind = given if isinstance(given, type) else type(given)
        shown = repr(given) if isinstance(given, (str, int, float, type(None))) else f"a {kind.__name__}"
        super().__init__(expected, shown + hint)

    def __str__(self) -> str:
        expected, given = self.args
        return f"{self.option and self.option + ': '}expected {expected}, not {given}"
