"""The report: one page to look through a night's exposures and to label them (`page`), and its pictures (`pictures`)."""
