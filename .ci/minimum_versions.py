"""Print the minimum version of each requirement in setup.py as a constraint for pip: `Twisted==26.10`, one a line.

Takes the requirements from the metadata of the installed errklein. Exits with 1 if a requirement has no minimum.
"""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement


def minimum(requirement: Requirement) -> str:
    """Return the version after `>=`; exits if there is none."""
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            return specifier.version
    sys.exit(f"setup.py: {requirement} has no minimum version; write {requirement.name}>=…")


def main() -> None:
    """Print the constraints; requirements of extras are left out."""
    for line in metadata.requires("errklein") or []:
        requirement = Requirement(line)
        if requirement.marker is None:
            print(f"{requirement.name}=={minimum(requirement)}")


if __name__ == "__main__":
    main()
