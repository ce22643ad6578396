"""Data preparation: phantoms, point clouds, the shape model (Algorithm 1): ``python -m prep``."""
