"""Which code a package is: what was made by other code is told by it."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path


@cache
def digest_of(package: str) -> str:
    """A digest of the package's modules.

    Raises:
      ModuleNotFoundError: when there is no such package.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    total = hashlib.sha256()
    for path in sorted(Path(found.origin).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()
