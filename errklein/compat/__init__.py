"""The names `errbot` and `flask`, for plugins that were not written for errklein."""

from errklein.compat.facade import FacadeModule, install, stand_in_for

__all__ = ["FacadeModule", "install", "stand_in_for"]
