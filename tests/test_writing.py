"""Processes that write beside the computing."""

import os

import pytest

from jssm.cines import outputs, writing
from jssm.cines.result import NAMES


def test_another_process_writes_and_a_new_one_takes_the_place_of_one_that_was_ended(monkeypatch):
    monkeypatch.setattr(writing, "WRITERS", "")
    with writing.Writers(1) as writers:
        first = writing.result_of(writers.submit(os.getpid))
        assert first != os.getpid()
        with pytest.raises(FileNotFoundError, match="nowhere"):
            writing.result_of(writers.submit(os.listdir, "nowhere"))
        ended = writers.submit(os._exit, 1)
        with pytest.raises(OSError, match="the process that wrote it was ended"):
            writing.result_of(ended)
        assert writing.result_of(writers.submit(os.getpid)) not in (first, os.getpid())


def test_without_any_this_process_writes():
    with writing.Writers(0) as writers:
        assert writing.result_of(writers.submit(os.getpid)) == os.getpid()
        with pytest.raises(FileNotFoundError, match="nowhere"):
            writing.result_of(writers.submit(os.listdir, "nowhere"))


def test_every_choice_is_an_output():
    assert tuple(outputs.OUTPUTS) == NAMES
