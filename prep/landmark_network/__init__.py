"""Apex and basal points of images without masks, by a network."""
