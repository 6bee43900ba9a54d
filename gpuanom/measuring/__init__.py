"""From the CCDs of an exposure to its measurement."""
