"""Plots and movies."""
