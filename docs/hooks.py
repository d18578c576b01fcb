"""What MkDocs does here besides: pages from outside of docs/, and notebooks as pages.

In: the files of the repository. Out: the files of the site, each at its place in the repository, so
that the links of a page are the same on the site and where the repository is read. mkdocs.yml names
this module.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/**/*.md", "manifests/README.md", "manifests/fer2013/README.md")
PAGES += ("benchmarks/RESULTS.md",)
OTHERS = ("docs/*.png", "examples/*.py", "LICENSE")


def on_files(files: Files, config: Any) -> Files:
    """The files of the site, in place of those of docs/; the theme's own stay."""
    chosen = [file for file in files if file.src_dir != config.docs_dir]
    for pattern in (*PAGES, *OTHERS):
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            chosen.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        for name, content in render_notebook(path).items():
            chosen.append(File.generated(config, f"docs/{name}", content=content))
    return Files(chosen)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a notebook leads to its page."""
    return re.sub(r"(\]\([^)\s]*)\.ipynb\)", r"\1.md)", markdown)


def render_notebook(file: Path) -> dict[str, str | bytes]:
    """The page of a notebook and the pictures of its outputs, by name."""
    names = {"unique_key": file.stem, "output_files_dir": f"{file.stem}_files"}
    text, found = MarkdownExporter().from_filename(str(file), resources=names)
    return {f"{file.stem}.md": text, **found["outputs"]}
