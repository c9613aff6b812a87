"""The packages `errbot` and `flask` for plugins that were written for errbot; `names.txt` lists all modules and names."""

from errklein.compat._facade import FACADES, FacadeModule, install, publish, stand_in_for, step_aside, withdraw
from errklein.plugins.imports import provide

__all__ = ["FacadeModule", "install", "stand_in_for", "step_aside"]

provide(FACADES, publish, withdraw)
