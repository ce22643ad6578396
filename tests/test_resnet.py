import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.networks.resnet import ResNet

pytestmark = pytest.mark.usefixtures("whole_resnets")


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_170_240), (34, 21_278_400), (50, 23_501_760)]
)
def test_size_is_that_of_the_original(depth, parameters):
    """torchvision's counts, less its classifier and the two colours that a grey image lacks."""
    network = ResNet(depth)
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 1)), train=False)
    )
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    assert count == parameters


def test_stages_halve_the_image_five_times_and_float32_parameters_in_bfloat16():
    network = ResNet(18, 4, jnp.bfloat16)
    stages, variables = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), jnp.ones((2, 64, 96, 1)), train=False)
    )
    assert [x.shape for x in stages] == [
        (2, 32, 48, 4),
        (2, 16, 24, 4),
        (2, 8, 12, 8),
        (2, 4, 6, 16),
        (2, 2, 3, 32),
    ]
    assert {x.dtype for x in stages} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
