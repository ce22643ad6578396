"""Shapes: the statistical model, affine maps, the order of the points, the strip, labels."""
