"""The measurements of a night, kept in one SQLite file."""
