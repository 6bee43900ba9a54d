"""The CUDA backend: a launcher for every step, a file each. `gpuanom.backend.Backend` says what each does."""
