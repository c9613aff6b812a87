"""The packages `errbot` and `flask` for plugins that were written for errbot. Plugins import these names, and errklein
provides its own modules for them. `_names` has the complete list of modules and names."""

from errklein.compat._facade import FacadeModule, install, publish, stand_in_for, step_aside, withdraw
from errklein.compat._names import FACADES
from errklein.plugins.imports import provide

__all__ = ["FacadeModule", "install", "stand_in_for", "step_aside"]

provide(FACADES, publish, withdraw)
