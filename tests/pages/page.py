"""The project's pages and what is found in them: fenced blocks, inline commands, relative links.

Every *.md file counts that lies beside README.md, in mipin_ref/, models_onnx/, tools/ or tests/ (a tree that was
unpacked from an archive has no list of tracked files).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FOLDERS = ("mipin_ref", "models_onnx", "tools", "tests")

COMMANDS = ("", "sh", "bash")
"""Languages of fences whose text is run by bash. A fence that names none is one of commands."""
PYTHON, JSON, OUTPUT, NODE, CPP = "python", "json", "text", "js", "cpp"
LANGUAGES = (*COMMANDS, PYTHON, JSON, OUTPUT, NODE, CPP)

SET_UP, TEST = "set-up command", "test command"
MARKERS = (SET_UP, TEST)
"""Comments that stand before the two blocks which `.ci/run` runs."""

COMMAND = re.compile(r"(mipin|python\d?|pip|pytest|node|\./\S+)\s+\S")
"""How a line begins that is a command."""
FENCE = re.compile(r"(\s*)(```+|~~~+)(.*)")
NAMED = re.compile(r"// (\w+\.cpp)\n.*", re.DOTALL)
"""What a block of C++ begins with: the name of the file that it is."""
MARKER = re.compile(r"<!-- (?!figures?: |end -->)(.*) -->")
"""Comments of figures are none of a block's."""
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")


class PageError(ValueError):
    """A page that breaks the rules for blocks; says where."""


@dataclass(frozen=True)
class Block:
    """A fenced block; line: of its first line of text, counted from 1; marker: of the comment before it."""

    line: int
    language: str
    text: str
    marker: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is run where it stands; one of C++ is written to its file, for the commands behind it."""
        return self.language in (*COMMANDS, PYTHON, CPP)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages() -> list[Path]:
    """README.md first, then the others in order of their paths."""
    found = {*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))}
    return sorted(found, key=lambda path: (path != README, path))


TEXTS = {name_of(page): page.read_text(encoding="utf-8") for page in pages()}
"""All pages by their path from the root."""


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises PageError for a fence in a language that is not of LANGUAGES, an indented fence, one that is not closed, one
    of tildes, for C++ that names no file, and for a command in an indented code block or in a block of output, where
    nothing would run it.
    """
    found: list[Block] = []
    lines = text.splitlines()
    marker: str | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        opened = FENCE.fullmatch(line)
        if opened is None:
            if line.startswith(("    ", "\t")) and COMMAND.match(line.strip().removeprefix("$ ")):
                raise PageError(f"line {number}: a command in an indented block is not run; fence it")
            if line.strip():
                comment = MARKER.fullmatch(line)
                marker = None if comment is None else comment[1]
            continue
        indent, fence, language = opened.groups()
        if indent or fence != "```":
            raise PageError(f"line {number}: fences are three backticks at the beginning of a line")
        if language not in LANGUAGES:
            raise PageError(
                f"line {number}: unknown language {language!r}; there are {', '.join(LANGUAGES[1:])}, or none"
            )
        end = next((at for at in range(number, len(lines)) if FENCE.fullmatch(lines[at])), None)
        if end is None or lines[end] != "```":
            raise PageError(f"line {number}: this block is not closed by three backticks alone")
        inside = lines[number:end]
        if language == OUTPUT:
            for at, shown in enumerate(inside, number + 1):
                if COMMAND.match(shown.removeprefix("$ ")):
                    raise PageError(f"line {at}: a command in a block of output is not run")
        if not any(shown.strip() for shown in inside):
            raise PageError(f"line {number}: an empty block")
        text = "\n".join(inside) + "\n"
        if language == CPP and NAMED.fullmatch(text) is None:
            raise PageError(f"line {number + 1}: a block of C++ begins with its file, // NAME.cpp")
        found.append(Block(number + 1, language, text, marker))
        marker, number = None, end + 1
    return found


def marked(text: str, marker: str) -> Block:
    """The one block behind a marker. Raises PageError where there is none, or are several, or it is not one command."""
    found = [block for block in blocks(text) if block.marker == marker]
    if len(found) != 1 or found[0].language not in COMMANDS or found[0].text.count("\n") != 1:
        raise PageError(f"there must be one block of one command behind <!-- {marker} -->")
    return found[0]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside fences, numbered from 1."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.fullmatch(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def inline_commands(text: str) -> list[tuple[int, str]]:
    """(line, command) of the inline code that is a whole command of `mipin` or of a script in tools/.

    One that holds a word in capitals, such as MODEL, describes its form and is left out.
    """
    found = []
    for number, line in prose(text):
        for span in SPAN.finditer(line):
            words = span[2].strip().split()
            whole = words[:1] == ["mipin"] or (words[:1] == ["python"] and words[1:2] and words[1].startswith("tools/"))
            if whole and len(words) > 1 and not any(re.search(r"[A-Z]{3,}|^[A-Z]+$|…", word) for word in words):
                found.append((number, span[2].strip()))
    return found


def links(text: str) -> list[tuple[int, str]]:
    """(line, target) of links and pictures that do not name another server."""
    found = []
    for number, line in prose(text):
        bare = SPAN.sub("", line)
        found += [(number, target) for target in LINK.findall(bare) if not re.match(r"[a-z]+:", target)]
    return found
