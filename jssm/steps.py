"""Which checkpoint of a run is meant: the best by validation Dice, or the latest."""

STEPS = ("best", "latest")
