"""The ways in which a file says no."""


class BadInput(Exception):
    """A file or case is damaged or cannot be used; the message is one sentence naming it."""


class NotACine(Exception):
    """A file is sound, but holds no image of a cine: passed over; the message says why."""
