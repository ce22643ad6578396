"""A differentiable rasterizer for strips: what others call. The rest of the room is its own."""

from jssm.rasterizer.draw import rasterize, rasterize_whole, sharpness, signed_distance

__all__ = ["rasterize", "rasterize_whole", "sharpness", "signed_distance"]
