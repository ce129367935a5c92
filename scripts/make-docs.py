#!/usr/bin/env python3
"""Makes the site of the documentation: a book of the pages that docs/SUMMARY.md lists, and the headers in api/.

  scripts/make-docs.py OUT          writes OUT/site; needs what `scripts/setup.sh docs` installs
  scripts/make-docs.py --check      whether docs/SUMMARY.md has each page, once

Pages keep their places in the tree, so that links between them stay. Links to headers lead to api/, links to other files
to copies of them.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
SUMMARY = ROOT / "docs" / "SUMMARY.md"
ENTRY = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)|^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
CODE = re.compile(r"^ *```.*?^ *```\s*$", re.MULTILINE | re.DOTALL)
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "wasm-engine"
BOOK = """[book]
title = "wasm-engine"
src = "src"
language = "en"

[build]
build-dir = "../site"
create-missing = false

[output.html]
no-section-label = true
additional-css = ["site.css"]
preferred-dark-theme = "navy"

[output.html.fold]
enable = false
"""
# Diagrams are drawn on white. Wide tables scroll by themselves instead of the page.
STYLE = """.content img { background: #ffffff; max-width: 100%; }
.content table { display: block; overflow-x: auto; }
:root { --content-max-width: 900px; }
"""


def listed():
    """The pages of the summary, in order."""
    return [(SUMMARY.parent / path).resolve() for _, path in ENTRY.findall(SUMMARY.read_text())]


def pages_there():
    """Pages that readers could look for. README.md of a plugin or a package lies two directories down."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("plugins/*/README.md")]
    # The licences of all crates are not for reading in one go.
    return {page.resolve() for page in found} - {SUMMARY, ROOT / "THIRD-PARTY.md"}


def faults_of_summary():
    pages = listed()
    for page in sorted(pages_there() - set(pages)):
        if not ignored(page):
            yield f"docs/SUMMARY.md lacks {page.relative_to(ROOT)}"
    for page in sorted(set(pages)):
        if pages.count(page) > 1:
            yield f"docs/SUMMARY.md has {page.relative_to(ROOT)} more than once"
        if not page.exists():
            yield f"docs/SUMMARY.md has {page.relative_to(ROOT)}, which does not exist"


def ignored(page):
    """Whether Git ignores it, such as a build directory's."""
    return subprocess.run(["git", "check-ignore", "-q", page], cwd=ROOT, check=False, capture_output=True).returncode == 0


def api_page(header):
    """What Doxygen calls a file."""
    return header.name.replace("_", "__").replace(".", "_8") + ".html"


def moved(page, link, source, pages):
    """A link of a page as the site needs it. None: it leads to nothing that the site has."""
    path, hash_, anchor = link.partition("#")
    if re.match(r"[a-z]+:", link) or not path:
        return link
    target = (page.parent / path).resolve()
    up = Path(os.path.relpath(source, (source / page.relative_to(ROOT)).parent))
    if target.is_dir():
        target = target / "README.md"
        path = os.path.join(path, "README.md")
        if target not in pages:
            return None
    if target in pages:
        # mdBook makes index.html of it and leaves links to it as they are.
        return re.sub(r"README\.md$", "index.html", path) + hash_ + anchor
    if target.is_relative_to(ROOT / "include"):
        return str(up / "api" / api_page(target))
    if not target.is_file():
        return None
    copy = source / target.relative_to(ROOT)
    if target.suffix == ".md":
        # mdBook would take it for a page of the book.
        copy, path = copy.with_suffix(".txt"), path.removesuffix(".md") + ".txt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(target, copy)
    return path + hash_ + anchor


def rewritten(page, source, pages):
    """A page's text with the links of the site."""

    def replace(found):
        picture, text, link, name, reference = found.groups()
        to = moved(page, link or reference, source, pages)
        if name:
            return f"[{name}]: {to}" if to else ""
        return f"{picture}[{text}]({to})" if to else text

    parts, at, text = [], 0, page.read_text()
    for block in CODE.finditer(text):
        parts += [LINK.sub(replace, text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, LINK.sub(replace, text[at:])])


def api_index():
    """The book's page about the reference."""
    header = (ROOT / "include" / "wasm_engine.h").read_text()
    sections = re.findall(r"^// -+\n// (\w[\w ]*)\n//$", header, re.MULTILINE)
    groups = ((name, "group__group__" + name.lower().replace(" ", "__")) for name in sections)
    links = "".join(f"- [{name}](api/{group}.html)\n" for name, group in groups)
    return f"""# The C header and the C++ layer

Made from the comments of the headers.

- [The contract](api/wasm__engine_8h.html#details)
- [The C header](api/wasm__engine_8h.html)
- [The C++ layer](api/namespacewasmengine.html)
- [All files](api/files.html) and [all types](api/annotated.html)

The sections of the C header:

{links}"""


def make_book(out):
    book, pages = out / "book", set(listed())
    source = book / "src"
    shutil.rmtree(book, ignore_errors=True)
    source.mkdir(parents=True)
    for page in pages:
        to = source / page.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(rewritten(page, source, pages))
    in_root = lambda entry: f"[{entry[1]}]({(SUMMARY.parent / entry[2]).resolve().relative_to(ROOT)})"  # noqa: E731
    reference = "\n# Reference\n\n- [The C header and the C++ layer](api.md)\n"
    (source / "SUMMARY.md").write_text(ENTRY.sub(in_root, SUMMARY.read_text()) + reference)
    (source / "api.md").write_text(api_index())
    (book / "book.toml").write_text(BOOK)
    (book / "site.css").write_text(STYLE)
    # The version that setup.sh chose, and else whatever there is.
    mdbook = shutil.which("mdbook", path=CACHE / "cargo" / "bin") or "mdbook"
    subprocess.run([mdbook, "build", book], check=True)


def make_api(out):
    version = re.search(r'WASM_ENGINE_VERSION "([^"]+)"', (ROOT / "include" / "wasm_engine.h").read_text())[1]
    environment = os.environ | {"VERSION": version, "OUTPUT": str(out / "site")}
    subprocess.run(["doxygen", "docs/Doxyfile"], cwd=ROOT, env=environment, check=True)
    log = out / "site" / "doxygen.log"
    warnings = log.read_text()
    log.unlink()
    if warnings:
        sys.exit(f"Doxygen warns:\n{warnings}")


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.links.update(filter(None, (named.get("href"), named.get("src"))))
        self.anchors.update(filter(None, (named.get("id"), named.get("name"))))


def faults_of_site(site):
    """Links of the site that lead nowhere."""
    pages = {path: Page(path.read_text(errors="replace")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        # These are shown at other addresses: all pages as one, and for any address that is wrong.
        if path.name in ("print.html", "404.html"):
            continue
        for link in sorted(page.links):
            to, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            target = (path.parent / to.partition("?")[0]).resolve() if to else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{path.relative_to(site)}: no such file: {link}"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{path.relative_to(site)}: no such anchor: {link}"


def main():
    faults = list(faults_of_summary())
    if faults:
        sys.exit("\n".join(faults))
    if sys.argv[1:] == ["--check"]:
        return
    out = Path(sys.argv[1]).resolve()
    shutil.rmtree(out / "site", ignore_errors=True)
    make_book(out)
    make_api(out)
    faults = list(faults_of_site(out / "site"))
    if faults:
        sys.exit("\n".join(faults))
    print(f"the site is in {out / 'site'}")


if __name__ == "__main__":
    main()
