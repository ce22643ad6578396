"""Programs: held for the shapes of their arguments, and kept traced between runs."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jssm.cines import programs
from jssm.cines.programs import Programs
from jssm.shape.integrity import integrity

FOLDER_OF = programs.folder  # the fixtures put another in its place


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where traced programs are kept."""
    monkeypatch.setattr(programs, "folder", lambda: tmp_path / "traced")
    return tmp_path / "traced"


@pytest.mark.parametrize(
    ("enabled", "where", "expected"),
    [(True, "cache", Path("cache") / programs.FOLDER), (False, "cache", None), (True, None, None)],
)
def test_traced_programs_lie_beside_compiled_ones(monkeypatch, enabled, where, expected):
    config = SimpleNamespace(jax_enable_compilation_cache=enabled, jax_compilation_cache_dir=where)
    monkeypatch.setattr(programs, "jax", SimpleNamespace(config=config))
    assert FOLDER_OF() == expected


def test_the_programs_used_last_are_held_and_no_others_touched(monkeypatch):
    monkeypatch.setattr(programs, "MOST", 3)
    run, not_ours = Programs(), jax.jit(double)
    not_ours(np.ones(1))
    for length in (1, 2, 3, 1, 4, 5, 1):
        assert run(double, np.ones(length, np.float32)).tolist() == [2.0] * length
        assert len(run._held) <= 3
    assert [shapes for _, shapes, _ in run._held] == [((4,),), ((5,),), ((1,),)]
    assert run.waited_s > 0
    assert not_ours._cache_size() == 1


def test_a_traced_program_is_found_again_with_what_it_gives(kept, monkeypatch):
    points = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    first = Programs()(integrity, points)
    (path,) = kept.iterdir()
    monkeypatch.setattr(programs.export, "export", None)  # nothing is traced again
    again = Programs()(integrity, points)
    assert type(again) is type(first)
    jax.tree.map(np.testing.assert_array_equal, again, first)
    assert list(kept.iterdir()) == [path]


def test_other_code_shapes_and_settings_are_other_programs(kept, monkeypatch):
    Programs()(scaled, np.ones(2, np.float32), by=2)
    Programs()(scaled, np.ones(3, np.float32), by=2)
    assert Programs()(scaled, np.ones(3, np.float32), by=3).tolist() == [3, 3, 3]
    monkeypatch.setattr(programs, "_code", lambda: "another version")
    Programs()(scaled, np.ones(3, np.float32), by=3)
    assert len(list(kept.iterdir())) == 4


def test_a_damaged_file_is_made_anew_and_a_full_disk_does_no_harm(kept, monkeypatch):
    Programs()(double, np.ones(2, np.float32))
    (path,) = kept.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert Programs()(double, np.ones(2, np.float32)).tolist() == [2, 2]
    assert path.stat().st_size == len(whole)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "write_whole", full)
    assert Programs()(double, np.ones(3, np.float32)).tolist() == [2, 2, 2]


def test_an_error_in_a_program_is_told_each_time():
    run = Programs()
    for _ in range(2):
        with pytest.raises(ValueError, match="points have shape"):
            run(integrity, np.ones((3, 2), np.float32))


def double(values):
    """Twice the values."""
    return 2 * values


def scaled(values, *, by):
    """The values times a number."""
    return by * values
