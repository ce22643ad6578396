"""A report to look at: one page for each patient, corrections in it, and what is made of these."""
