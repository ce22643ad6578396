"""The two ways in which preparation says no."""


class BadInput(Exception):
    """One case cannot be read or used as it is; the message is one sentence naming the file."""


class Unsuitable(Exception):
    """A case is sound, but its shape or its fit is not good enough: excluded, not an error."""


class Refused(Exception):
    """The whole run cannot start or finish; the message is one sentence."""
