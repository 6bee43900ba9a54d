"""The report: a page to look through a night and to label its exposures (`page`), and its pictures (`pictures`)."""
