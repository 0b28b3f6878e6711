"""The documentation builds as a site: without a warning, without a dead link, and with nothing loaded from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from poisonlab.documents.site import PARTS, moved

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="site", scope="module")
def fixture_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout + run.stderr == ""
    return folder


def addresses(page: Path) -> list[str]:
    return re.findall(r"""(?:href|src)=["']?([^"'\s>]+)""", page.read_text("utf-8"))


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # which says it from the server's root
    assert len(pages) > len(PARTS) + 20
    for page in pages:
        for address in addresses(page):
            if not re.match(r"\w+:", address):
                path, _, anchor = address.partition("#")
                target = page.parent / path.partition("?")[0] if path else page
                assert target.exists(), f"{page.relative_to(site)} leads to {address}"
                if anchor and target.suffix == ".html":
                    assert f'id="{unquote(anchor)}"' in target.read_text("utf-8").replace("'", '"'), (
                        page.name,
                        address,
                    )


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(\w+:[^"'\s>]+)|<link[^>]*href=["']?(\w+:[^"'\s>]+)""")
    for page in site.rglob("*.html"):
        found = [one for pair in loads.findall(page.read_text("utf-8")) for one in pair if one]
        assert all(one.startswith("data:") for one in found), (page.name, [one[:80] for one in found])


def test_the_site_has_readmes_gallery_package_and_the_page_of_everything(site: Path) -> None:
    assert "Ten wrong labels among" in (site / "index.html").read_text("utf-8")
    assert "repeats_per_job" in (site / "configuration.html").read_text("utf-8")
    assert "figures/medoids/radii.png" in (site / "gallery.html").read_text("utf-8")
    assert 'id="poisonlab.poisons.crafting.craft"' in (site / "package" / "poisons.html").read_text("utf-8")
    assert 'href="medoids.html"' in (site / "everything.html").read_text("utf-8")


def test_links_lead_to_where_files_stand_in_the_site() -> None:
    copied: dict[str, str] = {}
    text = "[a](../config/README.md#x) [`b`](../studies) [c](own_data.md) [d](../config.yaml) ![e](figures/e.png)\n"
    text += "```text\n[f](../gone.md)\n```\n[g](https://example.org)"
    page = moved(text, "docs/here.md", "here.md", copied)
    assert page.startswith(
        "[a](configuration.md#x) `b` [c](own_data.md) [d](files/config.yaml.txt) ![e](figures/e.png)\n"
    )
    assert "[f](../gone.md)" in page
    assert page.endswith("[g](https://example.org)")
    assert copied == {"files/config.yaml.txt": "config.yaml"}
    deep = moved("[a](../medoids.md) [b](../../README.md)", "docs/support/x.md", "support/x.md", copied)
    assert deep == "[a](../medoids.md) [b](../index.md)"
