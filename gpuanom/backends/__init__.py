"""The backends that measure a stack of CCDs: one protocol, with a CPU backend and a CUDA backend that follow it."""
