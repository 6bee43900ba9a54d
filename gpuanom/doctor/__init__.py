"""Whether a GPU can be used here, and whether it computes what the CPU does."""
