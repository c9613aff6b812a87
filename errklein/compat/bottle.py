"""The module that plugins get when they import `bottle`, which errbot's webhooks were made of before Flask.

What it has works while a webhook's request is being handled, in whichever thread that is.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import dump_cookie
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response as WerkzeugResponse

from errklein.compat.bottle_app import Bottle, bottle_app
from errklein.web.facade import Response, body_json, current_context, make_response, send_from_directory
from errklein.web.facade.forms import FormsDict

__all__ = [
    "BaseRequest",
    "BaseResponse",
    "Bottle",
    "FormsDict",
    "HTTPError",
    "HTTPResponse",
    "LocalRequest",
    "LocalResponse",
    "Request",
    "abort",
    "default_app",
    "delete",
    "get",
    "json_dumps",
    "json_loads",
    "post",
    "put",
    "redirect",
    "request",
    "response",
    "route",
    "run",
    "static_file",
]

json_dumps = json.dumps
json_loads = json.loads


class LocalRequest:
    """The request as bottle shows it; what isn't here is as Flask has it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(current_context(f"bottle.request.{name}").request, name)

    @property
    def json(self) -> Any:
        """The JSON that the body is; None if it isn't sent as JSON. Raises HTTPError with status 400 if it isn't JSON."""
        asked = current_context("bottle.request.json").request
        if not asked.is_json or not asked.whole_body:
            return None
        try:
            return body_json.loads(asked.whole_body)
        except ValueError:
            raise HTTPError(400, "Invalid JSON") from None

    @property
    def query_string(self) -> str:
        """The query, escaped."""
        return str(current_context("bottle.request.query_string").environ.get("QUERY_STRING", ""))

    @property
    def url_args(self) -> dict[str, Any]:
        """What the rule's variables captured."""
        return dict(current_context("bottle.request.url_args").captures)

    @property
    def urlparts(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(current_context("bottle.request.urlparts").request.url)

    @property
    def auth(self) -> tuple[str | None, str | None] | None:
        """User and password of HTTP's basic authentication; None without."""
        given = current_context("bottle.request.auth").request.authorization
        return None if given is None or given.type != "basic" else (given.username, given.password)

    @property
    def is_ajax(self) -> bool:
        """Whether a script in a browser says that it asks."""
        return bool(self.get_header("X-Requested-With", "").lower() == "xmlhttprequest")

    is_xhr = is_ajax


class _Settings:
    """Status, headers and cookies of an answer."""

    default_status = 200

    def __init__(self, status: int | str | None = None, headers: Any = None, **more: str) -> None:
        self.headers = Headers(headers)
        for name, value in more.items():
            self.headers.set(name.replace("_", "-"), value)
        self.status_line: str | None = None
        self.status_code = self.default_status
        if status is not None:
            self.status = status

    @property
    def status(self) -> Any:
        """The status, which may be assigned as a number or as "404 Not here"."""
        return self.status_line or _line(self.status_code)

    @status.setter
    def status(self, status: int | str) -> None:
        self.status_line = status if isinstance(status, str) else _line(status)
        self.status_code = int(self.status_line.split(" ", 1)[0])

    @property
    def content_type(self) -> str | None:
        """The header Content-Type."""
        return self.headers.get("Content-Type")

    @content_type.setter
    def content_type(self, value: str) -> None:
        self.headers.set("Content-Type", value)

    def set_header(self, name: str, value: Any) -> None:
        """Have this header, and no other of the name."""
        self.headers.set(name, str(value))

    def add_header(self, name: str, value: Any) -> None:
        """Have this header too."""
        self.headers.add(name, str(value))

    def get_header(self, name: str, default: Any = None) -> Any:
        """The header of that name, or `default`."""
        return self.headers.get(name, default)

    def set_cookie(self, name: str, value: str, secret: None = None, **options: Any) -> None:
        """Have the browser keep a cookie; `options` are those of HTTP. Signed cookies aren't offered."""
        if secret is not None:
            raise NotImplementedError("errklein has no signed cookies; sign the value yourself")
        maxage = options.pop("maxage", options.pop("max_age", None))
        self.headers.add("Set-Cookie", dump_cookie(name, str(value), max_age=maxage, **options))

    def delete_cookie(self, key: str, **options: Any) -> None:
        """Have the browser forget a cookie."""
        self.set_cookie(key, "", maxage=0, expires=0, **options)

    def apply(self, answer: WerkzeugResponse) -> WerkzeugResponse:
        """The answer with these settings."""
        if self.status_line is not None:
            answer.status = self.status_line
        for name in dict.fromkeys(name for name, _ in self.headers):
            if name.lower() != "set-cookie":
                answer.headers.remove(name)
        for name, value in self.headers:
            answer.headers.add(name, value)
        return answer


class _Whole(Response):
    """An answer that has all its settings."""


class LocalResponse(_Settings):
    """The answer that is being made: what is set here holds for what the handler returns, but an HTTPResponse."""

    def apply(self, answer: WerkzeugResponse) -> WerkzeugResponse:
        """The answer with these settings, unless it has its own."""
        return answer if isinstance(answer, _Whole) else super().apply(answer)


class HTTPResponse(_Settings, HTTPException):
    """An answer, to be returned or raised."""

    def __init__(self, body: Any = "", status: int | str | None = None, headers: Any = None, **more: str) -> None:
        HTTPException.__init__(self)
        _Settings.__init__(self, status, headers, **more)
        self.body = body

    @property
    def code(self) -> int:  # type: ignore[override]
        """The status."""
        return self.status_code

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        """The answer as Werkzeug has it."""
        answer = self.apply(_Whole.force_type(make_response("" if self.body is None else self.body)))
        answer.status_code = self.status_code
        return answer


class HTTPError(HTTPResponse):
    """An answer that says what is wrong, on a page with the text."""

    default_status = 500

    def __init__(
        self,
        status: int | str | None = None,
        body: Any = None,
        exception: Any = None,
        traceback: Any = None,
        **more: str,
    ) -> None:
        super().__init__(body, status, **more)
        self.exception = exception
        self.traceback = traceback
        self.description = None if body is None else str(body)

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        """The page."""
        page = _Whole(self.get_body(environ), self.status_code, mimetype="text/html")
        return self.apply(page)


def _line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _current_response() -> LocalResponse:
    context = current_context("bottle.response")
    settings = getattr(context, "bottle_response", None)
    if settings is None:
        settings = LocalResponse()
        context.bottle_response = settings  # type: ignore[attr-defined]
        context.after.append(settings.apply)
    return settings


request = LocalRequest()
response: LocalResponse = LocalProxy(_current_response)  # type: ignore[assignment]
BaseRequest = Request = LocalRequest
BaseResponse = LocalResponse


def abort(code: int = 500, text: str = "Unknown Error.") -> NoReturn:
    """Answer with a page that says what is wrong."""
    raise HTTPError(code, text)


def redirect(url: str, code: int | None = None) -> NoReturn:
    """Send the client to `url`, which may be relative."""
    asked = current_context("bottle.redirect").request
    raise HTTPResponse("", code or 303, response.headers, Location=urljoin(asked.url, url))


def static_file(
    filename: str,
    root: str | Path,
    mimetype: Any = None,
    download: bool | str = False,
    charset: str = "UTF-8",
    **_: Any,
) -> Any:
    """An answer with a file below `root`; 404 if there is none."""
    kind = mimetype if isinstance(mimetype, str) and mimetype != "auto" else None
    name = download if isinstance(download, str) else None
    return send_from_directory(
        Path(root).absolute(), filename.strip("/\\"), mimetype=kind, as_attachment=bool(download), download_name=name
    )


def run(*_: Any, **__: Any) -> NoReturn:
    """Refused: errklein's server answers."""
    raise RuntimeError("bottle.run() isn't needed: errklein's own server answers; see its Webserver plugin")


def default_app() -> Bottle:
    """The application on which `route` puts functions."""
    return bottle_app


route = bottle_app.route
get = bottle_app.get
post = bottle_app.post
put = bottle_app.put
delete = bottle_app.delete
