"""The paper's tables and figures, for any data sets: one command each."""
