"""The CUDA C++ sources, as package data."""
