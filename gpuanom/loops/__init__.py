"""Loops that `gpuanom.native` compiled: where they are kept, what tells them apart, and how they are compiled ahead.

The command line imports this package at its start, before a command is chosen. Numba is therefore imported only by the
modules that only `gpuanom.native` imports.
"""
