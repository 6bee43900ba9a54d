"""What is normal for a dataset, and how unlikely its exposures and CCDs are by chance (METHOD.md 13)."""
