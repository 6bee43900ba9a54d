"""From the bytes of an image, raw or tile-compressed, to its pixels.

Begin with `encoded_images.py`; for tile-compressed images follow `tile_table.py`, `tiles.py` and `rice.py`. Modules
with `_loop` at the end of their names hold compiled loops for the module without that ending.
"""
