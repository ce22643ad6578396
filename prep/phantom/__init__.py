"""Synthetic long-axis hearts: cine pictures with exact masks, material points and true strain."""
