"""jssm: heart-muscle segmentation with a deep statistical shape model, in JAX."""
