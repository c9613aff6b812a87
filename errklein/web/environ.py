"""A request as WSGI describes it (PEP 3333), which is what Werkzeug's request is made from."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from errklein.web.request import HTTPRequest


def make_environ(request: HTTPRequest, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request whose body is `body`.

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
