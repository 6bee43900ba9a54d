"""The statistics that are judged, in the form in which exposures and CCDs are compared (METHOD.md 9.7, 12)."""
