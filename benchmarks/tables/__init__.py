"""The paper's tables and figures: which runs, their scores, their pictures."""
