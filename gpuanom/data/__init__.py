"""Lists of known anomalies that ship with the package."""
