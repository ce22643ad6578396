"""Whole cines: segmenting them, motion and strain, and what ``jssm predict`` writes."""
