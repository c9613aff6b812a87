"""The request that handlers see: Werkzeug's, with what Flask adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import werkzeug.wrappers
from werkzeug.routing import Rule

from errklein.web.facade import body_json
from errklein.web.facade.forms import FormParser
from errklein.webhooks import Hook


class Request(werkzeug.wrappers.Request):
    """A request, by the names that Flask's has. Bodies are whole when a handler starts, and within the limit."""

    max_form_memory_size = None  # The body's limit holds for forms too.
    form_data_parser_class = FormParser
    json_module = body_json

    url_rule: Rule | None = None
    """The rule that matched."""

    view_args: Mapping[str, Any] | None = None
    """What the rule's variables captured."""

    routing_exception: Exception | None = None
    """Always None: what matches no rule reaches no handler."""

    body_limit: int | None = None

    @property
    def max_content_length(self) -> int | None:  # type: ignore[override]
        """The largest body that is accepted, in bytes."""
        return self.body_limit

    @property
    def endpoint(self) -> str | None:
        """The name of the matching rule, as errbot makes it of the method and its verbs."""
        return None if self.url_rule is None else str(self.url_rule.endpoint)

    @property
    def blueprint(self) -> None:
        """Always None: plugins' routes are in no blueprint."""
        return None

    @property
    def blueprints(self) -> list[str]:
        """Always empty: plugins' routes are in no blueprint."""
        return []


def endpoint_of(hook: Hook) -> str:
    """The name that errbot gives the route of a hook."""
    return "_".join((hook.name, *hook.declaration.methods))
