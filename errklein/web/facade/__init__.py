"""Flask's functions and classes for webhook handlers, built on Werkzeug, which `from flask import …` imports without Flask."""

from errklein.web.facade.request import (
    FlaskJSON,
    Request,
    current_app,
    current_context,
    endpoint_of,
    g,
    has_request_context,
    request,
)
from errklein.web.facade.response import (
    Flask,
    Response,
    abort,
    after_this_request,
    copy_current_request_context,
    jsonify,
    make_response,
    redirect,
    response_of_error,
    send_file,
    send_from_directory,
    stream_with_context,
    url_for,
)
