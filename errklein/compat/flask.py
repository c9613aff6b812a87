"""The module that plugins get when they import `flask`, whether or not Flask is installed."""

from markupsafe import Markup, escape
from werkzeug.exceptions import abort

from errklein.web.facade import (
    Flask,
    Request,
    Response,
    after_this_request,
    copy_current_request_context,
    current_app,
    g,
    has_request_context,
    jsonify,
    make_response,
    redirect,
    request,
    send_file,
    send_from_directory,
    stream_with_context,
    url_for,
)
from errklein.web.facade import json_text as json

has_app_context = has_request_context

__all__ = [
    "Flask",
    "Markup",
    "Request",
    "Response",
    "abort",
    "after_this_request",
    "copy_current_request_context",
    "current_app",
    "escape",
    "g",
    "has_app_context",
    "has_request_context",
    "json",
    "jsonify",
    "make_response",
    "redirect",
    "request",
    "send_file",
    "send_from_directory",
    "stream_with_context",
    "url_for",
]
