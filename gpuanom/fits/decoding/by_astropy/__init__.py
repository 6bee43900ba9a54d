"""Forms of image that gpuanom leaves to astropy, some of them in a process of their own.

Begin with `fallback.py`. `process.py` keeps the processes, which run `process_program.py`.
"""
