"""The logger that `errbot.log` is."""

import logging

log = logging.getLogger("errbot")
