"""Lets `twistd errklein` find errklein, without importing it."""

from twisted.application.service import ServiceMaker

errklein = ServiceMaker(
    "errklein", "errklein.tap", "A chat bot with commands and webhooks, for errbot's plugins.", "errklein"
)
