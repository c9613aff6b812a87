"""Flask's functions and classes for webhook handlers, built on Werkzeug without Flask. Plugins import them with `from
flask import …`, whether or not Flask is installed."""

from errklein.web.facade._helpers import (
    Flask,
    abort,
    after_this_request,
    copy_current_request_context,
    redirect,
    send_file,
    send_from_directory,
    stream_with_context,
    url_for,
)
from errklein.web.facade.context import current_app, current_context, g, has_request_context, request
from errklein.web.facade.request import Request, endpoint_of
from errklein.web.facade.response import Response, jsonify, make_response, response_of_error
