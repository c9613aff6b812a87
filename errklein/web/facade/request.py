"""The request that handlers see: Werkzeug's, with what Flask adds to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import werkzeug.wrappers
from twisted.python.threadable import isInIOThread
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.routing import Rule

from errklein.web.facade.json_text import dumps
from errklein.webhooks import Hook
from errklein.webhooks.payload import BadPayload, read_json
from errklein.webhooks.urlencoded import BadForm, parse_urlencoded


class BodyJSON:
    """JSON of request bodies, within the limits of webhook payloads."""

    dumps = staticmethod(dumps)

    @staticmethod
    def loads(body: bytes) -> Any:
        """The value in the body. Raises ValueError if it isn't JSON, RequestEntityTooLarge if there is too much in it."""
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        try:
            # On the reactor's thread patience would only make everybody wait longer.
            return read_json(text, patient=not isInIOThread())
        except BadPayload as error:
            if error.status == 413:
                raise RequestEntityTooLarge(error.detail) from None
            raise ValueError(error.detail) from None


class FormParser(FormDataParser):
    """Werkzeug's, except that a large urlencoded form is read in slices, and rejected if there is too much in it."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, Any]]:
        """The stream, the fields and the files."""
        if mimetype != "application/x-www-form-urlencoded":
            return super().parse(stream, mimetype, content_length, options)
        form = stream.read()
        try:
            form.decode()
            fields = self.cls(parse_urlencoded(form, errors="werkzeug.url_quote"))
        except BadForm as error:
            raise RequestEntityTooLarge(str(error)) from None
        except UnicodeDecodeError:
            fields = self.cls()
        return stream, fields, self.cls()


class Request(werkzeug.wrappers.Request):
    """A request, by the names that Flask's has. Bodies are whole when a handler starts, and within the limit."""

    max_form_memory_size = None  # The body's limit holds for forms too.
    form_data_parser_class = FormParser
    json_module = BodyJSON  # type: ignore[assignment]

    url_rule: Rule | None = None
    """The rule that matched."""

    view_args: Mapping[str, Any] | None = None
    """What the rule's variables captured."""

    @property
    def endpoint(self) -> str | None:
        """The name of the matching rule, as errbot makes it of the method and its methods."""
        return None if self.url_rule is None else str(self.url_rule.endpoint)


def endpoint_of(hook: Hook) -> str:
    """The name that errbot gives the route of a hook."""
    return "_".join((hook.name, *hook.declaration.methods))
