"""Scores of masks and points against the truth, and the report on a data set."""
