"""Whole nights: scored at once, merged, or watched while they grow."""
