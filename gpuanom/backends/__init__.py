"""Where a stack of CCDs is measured: one protocol, and a CPU and a GPU that follow it."""
