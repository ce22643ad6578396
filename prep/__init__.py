"""Data preparation: phantoms, point clouds and the shape model (Algorithm 1). Run it as ``python -m prep``."""
