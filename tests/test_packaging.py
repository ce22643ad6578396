"""What the library alone needs, and what it holds."""

import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())


def test_importing_the_library_loads_no_extra():
    extras = [
        "ants",
        "skimage",
        "nibabel",
        "SimpleITK",
        "pydicom",
        "highdicom",
        "av",
        "gdcm",
        "joblib",
        "ml_collections",
        "tensorboardX",
        "safetensors",
        "torch",
    ]
    program = (
        f"import jssm, sys; print([m for m in {[*extras, 'matplotlib']!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_wheel_holds_the_library_alone():
    assert PROJECT["tool"]["setuptools"]["packages"] == ["jssm", "jssm.baselines", "jssm.files"]
    packages = {path.parent.as_posix() for path in Path("jssm").rglob("__init__.py")}
    assert packages == {"jssm", "jssm/baselines", "jssm/files"}


def test_every_dependency_has_an_upper_bound():
    lines = Path("pyproject.toml").read_text().splitlines()
    pinned = [line for line in lines if line.startswith('  "') and "[" not in line]
    assert len(pinned) > 15
    for line in pinned:
        assert "<" in line or "==" in line, line
