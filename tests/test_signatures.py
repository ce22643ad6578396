"""The rules of the house for the public functions."""

import inspect

import numpy as np
import pytest

import jssm

FUNCTIONS = [getattr(jssm, n) for n in jssm.__all__ if not inspect.isclass(getattr(jssm, n))]
ARRAYS_AND_SHAPES = {
    "progress",
    *("key", "points", "theta", "image", "images", "mask", "model", "shape", "predicted", "true"),
    *(
        "prediction",
        "spread",
        "frames",
        "num_points",
        "source",
        "directory",
        "beta",
        "values",
        "view",
        "slices",
        "two_chamber",
        "four_chamber",
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_options_are_keyword_only_and_keys_come_first(function):
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert set(positional) <= ARRAYS_AND_SHAPES
    assert "key" not in positional or positional[0] == "key"
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            assert parameter.kind is parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", jssm.__all__)
def test_everything_public_has_a_docstring(name):
    assert len(inspect.getdoc(getattr(jssm, name)) or "") > 20


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_public_functions_are_typed(function):
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())


def test_triangles_are_plain_indices():
    assert np.issubdtype(jssm.strip_triangles(8).dtype, np.integer)
