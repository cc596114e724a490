"""Sentences that the documents quote are said by the code, and links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

from nephrospot.settings import NAME

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "workflow/nephrospot"
TROUBLES = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def sentences():
    """Every text in the library's code but docstrings, with … in place of what is filled in."""
    for path in sorted(LIBRARY.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(map(fixed_text, node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
                yield node.value


def fixed_text(part):
    """A part of an f-string; ``NAME`` is how the code calls the configuration."""
    if isinstance(part, ast.Constant):
        return part.value
    return NAME if ast.unparse(part.value) == "NAME" else "…"


def says(text, quoted):
    """Whether the fixed words of a quoted sentence stand in a text, in their order."""
    place = 0
    for words in filter(None, (part.strip() for part in quoted.split("…"))):
        place = text.find(words, place)
        if place < 0:
            return False
        place += len(words)
    return True


class TestSentences:
    def test_every_quoted_sentence_is_one_that_the_code_says(self):
        known = list(sentences())
        quoted = re.findall(r"^> (?!Snakemake: )(.+)$", TROUBLES, re.MULTILINE)
        assert len(quoted) > 50, "troubleshooting.md quotes what people see"
        unknown = [quote for quote in quoted if not any(says(text, quote) for text in known)]
        assert not unknown, f"nothing in the code says {unknown}"

    def test_a_changed_sentence_would_be_noticed(self):
        quoted = "…: there is no such sheet; correct the key …"
        assert says("…: there is no such sheet; correct the key sheet of the configuration.", quoted)
        assert not says("…: there is no sheet; correct the key sheet of the configuration.", quoted)
        assert not says("correct the key sheet: there is no such sheet", quoted), "the order of the words counts"

    def test_the_rerun_triggers_are_the_profiles(self):
        profile = (ROOT / "profiles/default/profile.yaml").read_text(encoding="utf-8")
        triggers = re.search(r"^rerun-triggers: .*$", profile, re.MULTILINE)[0]
        assert f"`{triggers}`" in TROUBLES, f"troubleshooting.md must quote {triggers}"


class TestLinks:
    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
    def test_relative_links_lead_somewhere(self, document):
        text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = document.parent / path if path else document
            assert file.exists(), f"{document.name} links to {target}, which isn't there"
            if anchor and file.suffix == ".md":
                assert anchor in headings(file), f"{document.name} links to {target}, whose heading isn't there"


def headings(document):
    """Anchors of a document's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
