"""Errors of requests, in addition to those of treq and Twisted."""


class BodyTooLarge(Exception):
    """A response is larger than the limit of its request."""


class ProxyError(Exception):
    """A proxy can't be used, or refuses a connection. The text names the proxy."""
