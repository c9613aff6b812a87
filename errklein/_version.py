"""The version of errklein and its commit, as they were when it was built or installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("errklein") or "0.dev0"
except PackageNotFoundError:
    # A copy of the package that was never installed.
    __version__ = "0.dev0"

COMMIT = __version__.partition("+g")[2].partition(".")[0]
"""The abbreviated hash of the commit; "" for a release, which has its tag, and if it is unknown."""
