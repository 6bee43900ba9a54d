"""SciPy on the device."""
