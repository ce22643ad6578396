"""The ways in which preparation says no."""

from jssm.files.errors import BadInput

__all__ = ["BadInput", "Refused", "Unsuitable"]


class Unsuitable(Exception):
    """A case is sound, but its shape or its fit is not good enough: excluded, not an error."""


class Refused(Exception):
    """The whole run cannot start or finish; the message is one sentence."""
