"""The paper's second method. Its tests are skipped, with that reason, where PyTorch is not installed."""

import pytest

for _module in ("torch", "safetensors"):
    pytest.importorskip(_module, reason="needs PyTorch and safetensors: pip install 'gpuanom[autoencoder]'")
