"""What MkDocs builds beside the files of docs/: the references, the notebooks, and the documents of the root."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
sys.path[:0] = [str(SITE), str(ROOT)]

from notebook_pages import notebook_page  # noqa: E402
from option_pages import command_pages, overview  # noqa: E402

FOLDER = "reference/commands"
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give every command its page in the navigation."""
    (reference,) = (section["Reference"] for section in config.nav or [] if "Reference" in section)
    commands = [{page.title: f"{FOLDER}/{page.name}.md"} for page in command_pages()]
    reference[0] = {"Commands": [{"All commands": f"{FOLDER}/index.md"}, *commands]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of docs/."""
    for name, text in generated():
        files.append(File.generated(config, name, content=text))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        assert notebook.abs_src_path
        name = notebook.src_uri.removesuffix(".ipynb")
        text, pictures = notebook_page(Path(notebook.abs_src_path))
        files.append(File.generated(config, f"{name}.md", content=text))
        for picture, content in pictures.items():
            files.append(File.generated(config, f"{Path(name).parent}/{picture}", content=content))
        files.remove(notebook)
    return files


def generated() -> Iterator[tuple[str, str]]:
    yield f"{FOLDER}/index.md", overview(command_pages())
    for page in command_pages():
        yield f"{FOLDER}/{page.name}.md", page.text
    for name, source in FROM_ROOT.items():
        yield name, (ROOT / source).read_text().replace("](docs/", "](")


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Links that are right in the repository, and other here."""
    for name, source in FROM_ROOT.items():
        markdown = markdown.replace(f"](../{source}", f"]({name}")
    return re.sub(r"(\]\([\w/]+)\.ipynb\b", r"\1.md", markdown)
