"""Tests of the paper's second method, the autoencoder. Where PyTorch is not installed they are skipped, with that
reason.
"""

import pytest

for _module in ("torch", "safetensors"):
    pytest.importorskip(_module, reason="needs PyTorch and safetensors: pip install 'gpuanom[autoencoder]'")
