"""A hook of the documentation site: pages that lie outside docs/ join the site, and links between them are kept.

The measurements in profiling/ and the files that a visitor expects at the top of a repository stay where
they are; the site shows them too.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ipython = tempfile.TemporaryDirectory()
ROOT = Path(__file__).parents[2]
LOG = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "profiling" / "log").glob("*.md"))
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "profiling/README.md", *LOG)


def on_startup(**_: Any) -> None:
    """Run the tutorial with no IPython settings but these: the kernel warns of every start of its own otherwise."""
    profile = Path(_ipython.name) / "profile_default"
    profile.mkdir(exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text("get_config().IPKernelApp.log_level = 40\n")
    os.environ["IPYTHONDIR"] = _ipython.name


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/, under the paths that they have in the repository."""
    results = sorted((ROOT / "profiling" / "results").iterdir())
    for path in [*(ROOT / page for page in PAGES), *results]:
        if path.exists():
            name = str(path.relative_to(ROOT))
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links from docs/ to the top of the repository, and back, at the site's own pages."""
    if page.file.src_uri.startswith("profiling/"):
        return re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", markdown)
    if page.file.src_uri in PAGES:
        return markdown.replace("](docs/", "](")
    return markdown.replace("](../", "](")
