"""From evidence to the verdicts bad, check and ok, and their causes in words (METHOD.md 13)."""
