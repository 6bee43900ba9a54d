"""What gpuanom knows about cameras: the rules that read their headers, and where their CCDs lie."""
