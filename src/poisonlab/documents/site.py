"""Hooks of MkDocs: docs/ and the READMEs become a site that loads nothing from elsewhere and has no dead link.

Pages of the site that are no files in docs/: the README as its home, the reference of the configuration, the gallery of
figures, a page of each part of the package, and docs/index.html as everything.html.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[3]
OTHERS = {"README.md": "index.md", "config/README.md": "configuration.md"}  # file of the repository → page
PARTS = (
    "datasets", "poisons", "models", "victims", "attacks", "evaluation", "analyses", "results", "statistics", "claims",
    "multiverse", "figures", "errors", "registry", "seeds",
)  # fmt: skip
_LINK = re.compile(r"(!?\[(?:[^\]\\]|\\.)*\])\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files that do not lie in docs/, and lead every link to where it stands in the site."""
    copied: dict[str, str] = {}
    for file in files.documentation_pages():
        file.content_string = moved(file.content_string, f"docs/{file.src_uri}", file.src_uri, copied)
    for source, page in OTHERS.items():
        text = moved((ROOT / source).read_text("utf-8"), source, page, copied)
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "gallery.md", content=gallery()))
    everything = (ROOT / "docs" / "index.html").read_text("utf-8")
    files.append(
        File.generated(config, "everything.html", content=re.sub(r'(href="[\w/]+)\.md"', r'\1.html"', everything))
    )
    for part in PARTS:
        files.append(File.generated(config, f"package/{part}.md", content=f"# {part}\n\n::: poisonlab.{part}\n"))
    for place, source in copied.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_config(config: Any) -> Any:
    """List the pages of the package in the navigation."""
    pages = [f"package/{part}.md" for part in PARTS]
    for section in config["nav"]:
        for name, entries in section.items():
            if name == "Reference":
                section[name] = [{"Package": pages} if entry == {"Package": "PACKAGE"} else entry for entry in entries]
    return config


def moved(text: str, source: str, page: str, copied: dict[str, str]) -> str:
    """Text of a file with its links as they are in the site.

    A link to a file that is no page leads to a copy of it, one to a folder becomes plain words.

    Args:
        source: the file in the repository.
        page: where it stands in the site.
        copied: place in the site → file of the repository; those that this text links are added.
    """

    def replaced(found: re.Match[str]) -> str:
        words, link, anchor = found[1], found[2], found[3] or ""
        if not link or re.match(r"\w+:", link):
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if (ROOT / target).is_dir():
            return words.lstrip("!")[1:-1]
        place = OTHERS.get(target) or target.removeprefix("docs/")
        if target == "docs/index.html":
            place = "everything.html"
        elif target not in OTHERS and not target.startswith("docs/"):
            place = f"files/{target}.txt"
            copied[place] = target
        return f"{words}({os.path.relpath(place, posixpath.dirname(page) or '.')}{anchor})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)  # code keeps its brackets
    return "".join(part if n % 2 else _LINK.sub(replaced, part) for n, part in enumerate(parts))


def gallery() -> str:
    """Every figure of docs/figures with what its caption says first."""
    lines = ["# Gallery", "", "Every figure that the archive gives, by study. `make documents` draws them all."]
    for folder in sorted((ROOT / "docs" / "figures").iterdir()):
        if folder.is_dir():
            lines += ["", f"## {folder.name.replace('_', ' ')}"]
            for picture in sorted(folder.glob("*.png")):
                seen = picture.with_suffix(".txt").read_text("utf-8").strip().split("\n\n")[0]
                lines += ["", f"![{picture.stem}](figures/{folder.name}/{picture.name})", "", seen]
    return "\n".join(lines) + "\n"
