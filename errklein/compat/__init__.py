"""The names `errbot` and `flask`, for plugins that were not written for errklein."""

from errklein.compat.facade import FacadeModule, install

__all__ = ["FacadeModule", "install"]
