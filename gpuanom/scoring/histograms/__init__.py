"""Histograms of orientations compared with a reference: divergences, significance and ranks (METHOD.md 5, 5b)."""
