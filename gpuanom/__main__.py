"""`python -m gpuanom`."""

from gpuanom.cli import main

main()
