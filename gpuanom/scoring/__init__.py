"""From measurements to scores: references, significance, ranks."""
