"""JSON in the format of Flask. The request object of handlers: Werkzeug's request with Flask's additions; its context, and the proxies `request`, `g` and
`current_app` that use it. The handler and all that it starts run with the context as the current one, on the reactor or in a thread."""

from __future__ import annotations

import dataclasses
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import werkzeug.sansio.request
import werkzeug.wrappers
from werkzeug.datastructures import EnvironHeaders, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import http_date, parse_options_header
from werkzeug.local import LocalProxy
from werkzeug.routing import Rule

from errklein.running.context import anywhere, assigned, handled_delivery, origin, request_id
from errklein.webhooks import Hook, payload
from errklein.webhooks.payload import BadPayload

if TYPE_CHECKING:
    from errklein.web._delivery import WebServices
    from errklein.web.facade.response import Flask
    from errklein.web.request import WebhookRequest


def _default(value: Any) -> Any:
    if isinstance(value, date):
        return http_date(value)
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "__html__"):
        return str(value.__html__())
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode_body = json.JSONEncoder(default=_default, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class FlaskJSON:
    """JSON in the format of Flask, `flask.json`."""

    loads: Any = staticmethod(json.loads)

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        """Return a value as JSON in ASCII, with sorted keys. Dates are written as HTTP dates, UUIDs and decimals as strings,
        dataclasses as objects. The options are those of `json.dumps`."""
        return json.dumps(value, **{"default": _default, "sort_keys": True, **options})

    @staticmethod
    def dump_body(value: Any) -> str:
        """Return a value as the body of a response; see `dumps`. Raises ValueError: it has NaN or an infinite number."""
        return _encode_body(value) + "\n"


class BodyJSON(FlaskJSON):
    """The JSON module of requests. It enforces the limits of webhook payloads."""

    @staticmethod
    def loads(body: bytes) -> Any:
        """Return the value of a JSON body. Raises ValueError, or RequestEntityTooLarge: it has too many values or keys."""
        # The usual case; others are UTF-16, UTF-32, or begin with a byte order mark or white space.
        plain = body[:1] in (b"{", b"[") and body[1:2] != b"\0"
        text = body.decode("utf-8" if plain else json.detect_encoding(body), "surrogatepass")
        try:
            return payload.read_json(text)
        except BadPayload as error:
            if error.status == 413:
                raise RequestEntityTooLarge(error.detail) from None
            raise ValueError(error.detail) from None


class ParsedJSON(FlaskJSON):
    """The JSON module of a request whose body is parsed already; `loads` returns the value, or raises the error."""

    def __init__(self, body: bytes) -> None:
        self._value: Any = None
        # An error itself would keep the body in memory, by its traceback.
        self._error: tuple[type[Exception], str | None] | None = None
        try:
            self._value = BodyJSON.loads(body)
        except RequestEntityTooLarge as error:
            self._error = RequestEntityTooLarge, error.description
        except ValueError as error:
            self._error = ValueError, str(error)

    def loads(self, body: bytes) -> Any:
        if self._error is not None:
            raise self._error[0](self._error[1])
        return self._value


class FormParser(FormDataParser):
    """Werkzeug's form parser, with limits, and with time slices for large urlencoded forms."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, Any]]:
        """Return the stream, the fields and the files. Raises RequestEntityTooLarge. BadRequest: a part of the body has no
        name."""
        fields: MultiDict[str, str] = self.cls()
        try:
            if mimetype == "multipart/form-data":
                form = stream.read()
                payload.check_multipart(form, (options or {}).get("boundary", "").encode("ascii"))
                stream = BytesIO(form)
            if mimetype != "application/x-www-form-urlencoded":
                stream, fields, files = super().parse(stream, mimetype, content_length, options)
                if None in fields or None in files:
                    raise BadRequest(payload.UNNAMED_PART)
                return stream, fields, files
            form = stream.read()
            form.decode()
            fields = self.cls(payload.parse_urlencoded(form, errors="werkzeug.url_quote"))
        except BadPayload as error:
            raise RequestEntityTooLarge(error.detail) from None
        except UnicodeError:
            pass
        return stream, fields, self.cls()


@dataclass(frozen=True)
class DeliveryInfo:
    """The delivery that is being handled, `flask.request.delivery`.

    ::

        @webhook("/invoices", ack="now", verify=stripe(secret="env:STRIPE_SECRET"))
        def invoice(self, payload):
            if request.delivery.once("mail"):
                send_mail(payload)
            self["paid"] = payload["id"]
    """

    id: int  #: the number by which `!delivery` finds it
    attempt: int  #: the number of the attempt: 1, and more if earlier attempts failed
    received_at: datetime  #: the time of the request, in UTC
    origin: str  #: "test" for a request of `!webhook test`, "replay" for a replayed delivery, and "" for others
    _once: Callable[[str], Any] = field(repr=False)

    def once(self, key: str) -> Any:
        """Return True the first time it is called for this delivery and key, and False in later attempts.

        Use it for an effect that must not be repeated when a later step of the handler fails. The key is on disk when the call
        returns. On the reactor, in an `async def` handler, the call returns a Deferred: `await request.delivery.once("mail")`. Raises
        JournalError.
        """
        return self._once(key)


class Request(werkzeug.wrappers.Request):
    """A webhook request, as raw handlers get it and as `flask.request` refers to it.

    It is Werkzeug's request with the attributes that Flask adds. The body has arrived completely when the handler starts, and
    is within the limit. ::

        @webhook("/signed", methods=["POST"], raw=True)
        def signed(self, request):
            digest = hmac.new(SECRET, request.get_data(), "sha256").hexdigest()
            if not hmac.compare_digest(digest, request.headers.get("X-Signature", "")):
                abort(403, "invalid signature")
            return request.get_json()["status"]

    The attributes that handlers use most: `method`, `path`, `url`, `headers`, `args` (the query), `form`, `files`,
    `cookies`, `mimetype`, `remote_addr`. `get_data()` returns the unchanged body as bytes, and `get_json()` its value:
    it responds with 400 to invalid JSON and with 415 to another media type, or returns None with `silent=True`.
    """

    # The limit of the body applies to forms too.
    max_form_memory_size = None
    form_data_parser_class = FormParser
    json_module = BodyJSON  # type: ignore[assignment]

    view_args: Mapping[str, Any] | None = None  #: the values of the rule's variables, by name

    _refusal: str | None = None
    _hook: Hook | None = None
    _incoming: Any = None
    _services: WebServices | None = None

    @classmethod
    def of(cls, services: WebServices, incoming: WebhookRequest, hook: Hook, body: bytes) -> Request:
        """Return the request of a webhook with a complete body. Werkzeug's constructor would read all this from a WSGI environment,
        which takes longer than most handlers."""
        request = cls.__new__(cls)
        request.__dict__.update(
            method=incoming.method.decode("ascii").upper(),
            scheme="https" if incoming.secure else "http",
            server=(getattr(incoming.host, "host", "localhost"), _port_of(incoming)),
            root_path=incoming.base_path,
            path="/" + unquote_to_bytes(incoming.path).decode("utf-8", "replace").lstrip("/"),
            query_string=incoming.query,
            remote_addr=getattr(incoming.client, "host", ""),
            shallow=False,
            _hook=hook,
            _incoming=incoming,
            _services=services,
            # `get_data` returns it, whatever else is read before.
            _cached_data=body,
        )
        return request

    def __getattr__(self, name: str) -> Any:
        # Only called for attributes that don't exist yet. Most handlers use neither of the two.
        if name == "environ":
            value: Any = make_environ(self._incoming, self._cached_data)
        elif name == "headers":
            value = EnvironHeaders(self.environ)
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        self.__dict__[name] = value
        return value

    @cached_property
    def url_rule(self) -> Rule | None:
        """The rule that matched, as Werkzeug's `Rule`."""
        if (hook := self._hook) is None:
            return None
        return Rule(hook.declaration.rule, endpoint=endpoint_of(hook), methods=hook.declaration.methods)

    @property
    def mimetype(self) -> str:
        """The media type of the body in lower case, without parameters."""
        header = self._incoming and self._incoming.first_header(b"content-type").decode("latin-1")
        return _media_type(self.headers.get("Content-Type", "") if header is None else header)

    @property
    def access_route(self) -> Sequence[str]:  # type: ignore[override]
        """The client's address, as `remote_addr`. Werkzeug's property believes any client's `X-Forwarded-For`."""
        return [self.remote_addr] if self.remote_addr else []

    @property
    def delivery(self) -> DeliveryInfo:
        """The delivery: its `id`, the number of the `attempt`, `received_at`, and `once`, for effects that must not be repeated."""
        if self._services is None:
            raise RuntimeError("this request was not received by the web server, so it has no delivery")
        return self._services.recording.info(self._incoming)

    def parse_body(self) -> None:
        """Parse the body, so that `get_json`, `form`, `files` and `values` return at once. May be called in a thread."""
        self.json_module = ParsedJSON(self.get_data())  # type: ignore[assignment]
        with suppress(RequestEntityTooLarge):
            self._load_form_data()

    def _load_form_data(self) -> None:
        if self._refusal is not None:
            raise RequestEntityTooLarge(self._refusal)
        try:
            super()._load_form_data()
        except RequestEntityTooLarge as error:
            self._refusal = error.description
            raise

    @property
    def endpoint(self) -> str | None:
        """The name of the rule: the handler's name and its HTTP methods, such as "build_POST_GET"; as on errbot."""
        return None if self.url_rule is None else str(self.url_rule.endpoint)


@lru_cache(64)
def _media_type(content_type: str) -> str:
    return parse_options_header(content_type)[0].lower()


def _port_of(request: WebhookRequest) -> int:
    return getattr(request.host, "port", 443 if request.secure else 80)


def endpoint_of(hook: Hook) -> str:
    """Return the name that errbot gives the route of a hook, such as "build_POST_GET"."""
    return "_".join((hook.name, *hook.declaration.methods))


def make_environ(request: WebhookRequest, body: bytes) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of a request, for Werkzeug's request class. Headers with an underscore in their name
    are left out, since WSGI can't distinguish `X_Forwarded_For` from `X-Forwarded-For`."""
    peer, host, uri = request.client, request.host, request.uri.decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("ascii"),
        "SCRIPT_NAME": request.base_path,
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "REQUEST_URI": uri,
        "RAW_URI": uri,
        "REMOTE_ADDR": str(getattr(peer, "host", "")),
        "REMOTE_PORT": str(getattr(peer, "port", "")),
        "SERVER_NAME": str(getattr(host, "host", "localhost")),
        "SERVER_PORT": str(_port_of(request)),
        "SERVER_PROTOCOL": request.clientproto.decode("ascii"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.secure else "http",
        "wsgi.input": BytesIO(body),
        # Without this, Werkzeug treats a chunked body as empty.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "errklein.request_id": request.request_id,
    }
    for name, value in zip(request.head.names, request.head.values, strict=True):
        key, text = _environ_key(name), value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        if key:
            environ[key] = text
    return environ


@lru_cache(256)
def _environ_key(name: bytes) -> str:
    """Return the key of a header in the environment; empty if it has none."""
    if b"_" in name or name == b"content-length":
        return ""
    key = name.decode("ascii").upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


# Not in running.context, which can't import RequestContext.
_current: ContextVar[RequestContext | None] = ContextVar("errklein.web.context", default=None)


class _Globals(dict[str, Any]):
    def __init__(self) -> None:
        # Its items are its attributes.
        self.__dict__ = self


class RequestContext:
    """The context of one request. Flask's objects for it are created on first use. `incoming` is the request as it was
    received, `hook` the webhook that handles it, and `captures` are the values of the rule's variables."""

    after: Sequence[Callable[[Any], Any]] = ()  # the functions to call with the response
    body: bytes | None = None  # None until it is read
    _payload: Any = ...
    _request: Request | None = None

    def __init__(
        self, services: WebServices, incoming: WebhookRequest, hook: Hook, captures: Mapping[str, Any]
    ) -> None:
        self.services, self.incoming = services, incoming
        self.hook, self.captures = hook, captures

    # No cached properties: on Python 3.11, these have one lock for all requests, for which the reactor would wait.

    def payload(self) -> Any:
        """Return the first argument of the handler. The body is decoded once. Raises BadPayload."""
        declaration = self.hook.declaration
        if declaration.raw:
            return LocalProxy(lambda: self.request)
        if self._payload is ... and declaration.source is not None:
            self._payload = declaration.source.read(self.services.checks.received(self.incoming))
        if self._payload is ...:
            body, header = self.read_body(), self.incoming.first_header
            kind, coding = header(b"content-type").decode("latin-1"), header(b"content-encoding").decode("latin-1")
            form_param = declaration.form_param
            self._payload = payload.decode_payload(body, kind, form_param=form_param, content_encoding=coding)
        return self._payload

    def decode_ahead(self) -> None:
        """Read and decode a large body, so that nothing takes long when the handler uses it. Called in a thread. Raises BadPayload."""
        self.read_body()
        if self.hook.declaration.raw:
            self.request.parse_body()
        self.payload()

    def read_body(self) -> bytes:
        """Return the body. One on disk must have been read by `decode_ahead`."""
        if self.body is None:
            self.body = self.incoming.body()
        return self.body

    @property
    def request(self) -> Request:
        if self._request is None:
            request = Request.of(self.services, self.incoming, self.hook, self.read_body())
            request.view_args = dict(self.captures)
            request.max_content_length = self.incoming.body_limit
            self._request = request
        return self._request

    @cached_property
    def g(self) -> _Globals:
        return _Globals()

    def new_context(self) -> Context:
        """Return a copy of the current context in which this is the current request."""
        context = copy_context()
        context.run(self._enter)
        return context

    def _enter(self) -> None:
        _current.set(self)
        request_id.set(self.incoming.request_id)
        origin.set(f"route:{self.hook.full_name}")
        handled_delivery.set((f"route:{self.hook.full_name}", self.incoming.delivery_id))
        if self.hook.declaration.anywhere:
            anywhere.set(f"route:{self.hook.full_name}")

    @contextmanager
    def active(self) -> Iterator[None]:
        name = f"route:{self.hook.full_name}"
        with (
            assigned(_current, self),
            assigned(request_id, self.incoming.request_id),
            assigned(origin, name),
            assigned(handled_delivery, (name, self.incoming.delivery_id)),
        ):
            yield


def current_context(what: str = "this") -> RequestContext:
    """Return the context of the request that is being handled. Raises RuntimeError, which says that `what` needs one."""
    if (context := _current.get()) is None:
        remedy = "in a thread that the handler starts, wrap the function in flask.copy_current_request_context"
        raise RuntimeError(f"{what} needs a request, but none is being handled here; {remedy}")
    return context


def has_request_context() -> bool:
    """Return whether a request is being handled."""
    return _current.get() is not None


request: Request = LocalProxy(lambda: current_context("flask.request").request)  # type: ignore[assignment]
"""The request that is being handled, a `Request`.

::

    @webhook("/build", methods=["POST"])
    def build(self, payload):
        if request.headers.get("X-Token") != self.config["token"]:
            abort(403)
        return f"build {payload['number']} received"

It is a proxy that refers to the current request in the handler and everything that the handler starts. Outside of a request,
each use raises RuntimeError.
"""

g: Any = LocalProxy(lambda: current_context("flask.g").g)
"""An object whose attributes exist for the time of the current request. Outside of a request, each use raises RuntimeError."""

current_app: Flask = LocalProxy(lambda: current_context("flask.current_app").services.flask)  # type: ignore[assignment]
"""The application of the current request, a `Flask`. Outside of a request, each use raises RuntimeError."""
