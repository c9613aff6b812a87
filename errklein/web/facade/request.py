"""The request that handlers see: Werkzeug's, with what Flask adds to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

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

if TYPE_CHECKING:
    from errklein.web.request import HTTPRequest


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


def make_environ(request: HTTPRequest, body: bytes) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request whose body is `body`, which Werkzeug's request is made from.

    Headers with an underscore in their name are left out: `X_Forwarded_For` would take the place of the real one.
    """
    peer = request.client
    host = request.host
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "REQUEST_URI": request.uri.decode("latin-1"),
        "RAW_URI": request.uri.decode("latin-1"),
        "REMOTE_ADDR": str(getattr(peer, "host", "")),
        "REMOTE_PORT": str(getattr(peer, "port", "")),
        "SERVER_NAME": str(getattr(host, "host", "localhost")),
        "SERVER_PORT": str(getattr(host, "port", 443 if request.secure else 80)),
        "SERVER_PROTOCOL": request.clientproto.decode("ascii"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.secure else "http",
        "wsgi.input": BytesIO(body),
        # Without this Werkzeug takes a body that came in chunks for an empty one.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "errklein.request_id": request.request_id,
    }
    for name, value in request.head.headers:
        if b"_" in name or name == b"content-length":
            continue
        key = name.decode("ascii").upper().replace("-", "_")
        if key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            text = f"{environ[key]}{separator}{text}"
        environ[key] = text
    return environ
