"""Compiled programs kept on disk, so that only the first start on a machine waits for them."""

import jax
import platformdirs


def enable() -> None:
    """Keep compiled programs in the user's cache folder; for commands, not for libraries.

    JAX's own variables have the last word: JAX_COMPILATION_CACHE_DIR names another folder, and
    JAX_ENABLE_COMPILATION_CACHE=false switches the cache off.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("jssm"))
