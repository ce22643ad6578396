"""What the library alone needs, and what it holds."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

from setuptools import build_meta

import jssm


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


def test_the_wheel_holds_every_file_of_the_library_and_nothing_else(tmp_path, monkeypatch):
    for name in ("pyproject.toml", "README.md", "LICENSE", "train.py"):
        shutil.copy(name, tmp_path)
    for name in ("jssm", "prep", "configs", "tests"):
        shutil.copytree(name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    wheel = build_meta.build_wheel(str(tmp_path))
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {path.as_posix() for path in Path("jssm").rglob("*") if path.is_file()}


def test_no_public_name_stands_over_a_submodule():
    for name in jssm.__all__:
        found = getattr(jssm, name)
        assert isinstance(found, ModuleType) or importlib.util.find_spec(f"jssm.{name}") is None


def test_every_dependency_has_an_upper_bound():
    lines = Path("pyproject.toml").read_text().splitlines()
    pinned = [line for line in lines if line.startswith('  "') and "[" not in line]
    assert len(pinned) > 15
    for line in pinned:
        assert "<" in line or "==" in line, line
