"""A linear map with its own transpose, against the matrix that it multiplies by."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jssm.rasterizer.linear_map import linear_map

ROWS, COLUMNS, USED = 5, 3, 4  # the loop ends before the last row
RNG = np.random.default_rng(0)
FULL = RNG.normal(size=(ROWS, COLUMNS)).astype(np.float32)
MATRIX = np.where(np.arange(ROWS)[:, None] < USED, FULL, 0)
X, Y = (RNG.normal(size=n).astype(np.float32) for n in (COLUMNS, ROWS))


def product(given, x):
    """The matrix times x (COLUMNS,), row by row; how many rows there are is known at run time."""

    def turn(state):
        row, total = state
        return row + 1, total.at[row].set(given["matrix"][row] @ x)

    start = jnp.zeros((), jnp.int32), jnp.zeros(ROWS)
    return lax.while_loop(lambda state: state[0] < given["used"], turn, start)[1]


def transposed(given, y):
    """The transposed matrix times y (ROWS,)."""

    def turn(state):
        row, total = state
        return row + 1, total + given["matrix"][row] * y[row]

    start = jnp.zeros((), jnp.int32), jnp.zeros(COLUMNS)
    return lax.while_loop(lambda state: state[0] < given["used"], turn, start)[1]


def multiply(x, matrix=FULL):
    given = {"matrix": jnp.asarray(matrix), "used": jnp.int32(USED)}
    return linear_map(product, transposed, given, x, jnp.zeros(ROWS))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_values_and_derivatives_are_those_of_the_matrix(wrap):
    close(wrap(multiply)(X), MATRIX @ X)
    value, change = wrap(lambda x, dx: jax.jvp(multiply, (x,), (dx,)))(X, 2 * X)
    close(value, MATRIX @ X)
    close(change, MATRIX @ (2 * X))
    close(wrap(lambda x, y: jax.vjp(multiply, x)[1](y)[0])(X, Y), MATRIX.T @ Y)


def test_batches():
    xs, ys = RNG.normal(size=(2, COLUMNS)), RNG.normal(size=(ROWS, 2))
    matrices = np.stack([FULL, 3 * FULL])
    close(jax.jit(jax.vmap(multiply))(xs), xs @ MATRIX.T)
    close(jax.jit(jax.vmap(multiply, (None, 0)))(X, matrices), [MATRIX @ X, 3 * MATRIX @ X])
    close(jax.jit(jax.vmap(multiply, (1, 0), 1))(xs.T, matrices), (xs * [[1], [3]] @ MATRIX.T).T)
    back = jax.vmap(lambda y: jax.vjp(multiply, X)[1](y)[0], 1)
    close(jax.jit(back)(ys), (MATRIX.T @ ys).T)
    close(jax.jit(jax.vmap(jax.vmap(multiply)))(xs[None]), (xs @ MATRIX.T)[None])


def test_forward_mode_in_what_is_given():
    """The product rule, of the matrix and x at once, and of the matrix alone."""
    change = RNG.normal(size=FULL.shape).astype(np.float32)
    moved = np.where(np.arange(ROWS)[:, None] < USED, change, 0)
    _, found = jax.jit(partial(jax.jvp, multiply))((X, FULL), (2 * X, change))
    close(found, MATRIX @ (2 * X) + moved @ X)
    _, found = jax.jvp(lambda matrix: multiply(X, matrix), (FULL,), (change,))
    close(found, moved @ X)


def test_the_transpose_of_the_transpose_is_the_map():
    (back,) = jax.linear_transpose(multiply, X)(Y)
    close(back, MATRIX.T @ Y)
    again = jax.linear_transpose(lambda y: jax.linear_transpose(multiply, X)(y)[0], Y)
    close(again(X)[0], MATRIX @ X)


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
def test_second_derivatives(outer):
    def half_square(x):
        return jnp.sum(multiply(x) ** 2) / 2

    close(jax.jit(outer(jax.grad(half_square)))(X), MATRIX.T @ MATRIX)


def test_a_direction_that_is_not_needed_is_not_traced():
    def never(given, value):
        raise AssertionError("traced")

    like, given = jnp.zeros(ROWS), {"matrix": jnp.asarray(FULL), "used": jnp.int32(USED)}
    close(jax.jit(lambda x: linear_map(product, never, given, x, like))(X), MATRIX @ X)
    back = jax.linear_transpose(lambda x: linear_map(never, transposed, given, x, like), X)
    close(jax.jit(back)(Y)[0], MATRIX.T @ Y)
