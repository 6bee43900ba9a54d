"""Commands run in the tests' own process, as the command line runs them."""

from __future__ import annotations

import pytest

from gpuanom.cli import main


def run(capfd, *words):
    """Exit code, standard output and standard error of a command, which never shows a traceback."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return ended.value.code, out, err
