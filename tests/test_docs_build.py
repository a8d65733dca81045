"""The site builds without a warning and without the network."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import npool.testing

ROOT = Path(__file__).resolve().parent.parent


def listed():
    """The pages that mkdocs.yml names."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    return re.findall(r": ([\w/-]+\.md)$", nav, re.MULTILINE)


def test_every_page_is_listed_once():
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(listed()) == pages, "mkdocs.yml's nav and the pages in docs/ differ"
    assert len(listed()) == len(set(listed()))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="needs the extra docs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        # As without a network: whoever asks for it meets a proxy that is not there.
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "",
            "NO_MKDOCS_2_WARNING": "1",  # a word of the theme about its own future
        },
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


class Loads(html.parser.HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.found.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.found.append(given["href"])


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(listed())
    for page in pages:
        reader = Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        outside = [url for url in reader.found if re.match(r"(\w+:)?//", url)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", text), sheet.name


@pytest.mark.slow
def test_the_site_has_the_tables_the_reference_and_the_pictures(site):
    def page(name):
        return (site / name / "index.html").read_text(encoding="utf-8")

    for name in npool.REDUCERS:
        assert f"<td><code>{name}</code></td>" in page("reducers")
    for name in npool.__all__:
        if callable(getattr(npool, name)):
            assert f'id="npool.{name}"' in page("reference/npool")
    for name in npool.functional.__all__:
        assert f'id="npool.functional.{name}"' in page("reference/functional")
    for name in npool.testing.__all__:
        value = getattr(npool.testing, name)
        if callable(value):
            assert f'id="npool.testing.{name}"' in page("reference/testing"), name
    assert "<!-- table" not in page("architecture")
    # What only Sphinx would read is gone.
    for name in ("npool", "functional", "testing"):
        assert not re.search(r":(func|class|mod|data):", page(f"reference/{name}"))
    assert len(list((site / "pictures").glob("*.svg"))) >= 8
    assert not (site / "generate").exists()
