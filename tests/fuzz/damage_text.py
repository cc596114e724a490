"""Changes to text that has a form: trees of JSON, tables, Matrix Market."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

LONG = "x" * 100_000
DEEP = 20_000
WORDS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1", "0", "1e-300", "1e308", "9" * 30, "9" * 5000, "0x10", "1_000",
    "1,5", "٣", "a\x00b", "\x1b[31mred\x1b[0m", "../../etc/passwd", "/etc/passwd", "a/b", "..", "~", "con", "=1+1",
    "<script>alert(1)</script>", "\"'", "µm", "\ud7ff", "🫘", LONG, "/" + "long/" * 2000, "None", "true", "{}", "logs",
)  # fmt: skip
ODD = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**400), 0.5, 1e-300, 1e308, float("nan"), float("inf"),
    "", [], {}, [[]], {"": None}, [None] * 3, *WORDS[:20],
)  # fmt: skip


# --- trees ---------------------------------------------------------------------------------------------------------


def replace_value(path: Path, rng: Random) -> str:
    return _change_tree(path, rng, lambda owner, key: owner.__setitem__(key, rng.choice(ODD)))


def replace_number(path: Path, rng: Random) -> str:
    numbers = (0, -1, 1e-300, 1e-9, 1e9, 1e300, 2**31, 2**40, 2**63, 10**400, float("nan"), float("inf"), "5", [5])
    wanted = lambda owner, key: isinstance(owner[key], (int, float))  # noqa: E731
    return _change_tree(path, rng, lambda owner, key: owner.__setitem__(key, rng.choice(numbers)), wanted)


def scale_number(path: Path, rng: Random) -> str:
    factor = rng.choice((-1, 1e-6, 1e-3, 1e3, 1e6))
    wanted = lambda owner, key: isinstance(owner[key], (int, float))  # noqa: E731
    return _change_tree(path, rng, lambda owner, key: owner.__setitem__(key, owner[key] * factor), wanted)


def remove_value(path: Path, rng: Random) -> str:
    return _change_tree(path, rng, lambda owner, key: owner.__delitem__(key))


def rename_key(path: Path, rng: Random) -> str:
    def rename(owner, key):
        owner[rng.choice(WORDS)] = owner.pop(key)

    return _change_tree(path, rng, rename, lambda owner, key: isinstance(owner, dict))


def write_word(path: Path, rng: Random) -> str:
    wanted = lambda owner, key: isinstance(owner[key], str)  # noqa: E731
    return _change_tree(path, rng, lambda owner, key: owner.__setitem__(key, rng.choice(WORDS)), wanted)


def wrap_value(path: Path, rng: Random) -> str:
    return _change_tree(path, rng, lambda owner, key: owner.__setitem__(key, [owner[key]] * rng.choice((1, 2, 300))))


def nest_value(path: Path, rng: Random) -> str:
    """As deep as JSON can still be read; what goes through the tree is next."""

    def nest(owner, key):
        for _ in range(rng.choice((100, 300, 450))):
            owner[key] = rng.choice(([owner[key]], {"a": owner[key]}))

    return _change_tree(path, rng, nest)


def nest_deeply(path: Path, rng: Random) -> str:
    """Brackets within brackets, beyond what a recursive reader can follow."""
    text, sign = path.read_text(encoding="utf-8"), rng.choice(('{"a":', "["))
    at = rng.choice([0, *(place + 1 for place in range(len(text)) if text[place] in ":,[")])
    closed = ("}" if sign != "[" else "]") * DEEP
    path.write_text(text[:at] + sign * DEEP + "1" + closed + text[at:], encoding="utf-8")
    return f"{DEEP} deep at {at}"


JSON = (
    replace_value, replace_value, replace_number, replace_number, scale_number, remove_value, rename_key, write_word,
    wrap_value, nest_value, nest_deeply,
)  # fmt: skip


def change_tree(tree, rng: Random, change, wanted=lambda owner, key: True) -> str:
    """Change one place of a tree of JSON in place; says which."""
    places = [place for place in _places(tree, ()) if wanted(place[0], place[1])]
    owner, key, trail = rng.choice(places)
    change(owner, key)
    return ".".join(map(str, trail))[:200]


def _places(value, trail: tuple):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key, (*trail, key)
        yield from _places(inner, (*trail, key))


def _change_tree(path: Path, rng: Random, *change) -> str:
    tree = json.loads(path.read_text(encoding="utf-8"))
    what = change_tree(tree, rng, *change)
    path.write_text(json.dumps(tree), encoding="utf-8", errors="surrogatepass")
    return what


# --- tables --------------------------------------------------------------------------------------------------------


def write_cell(path: Path, rng: Random) -> str:
    lines, sign = _read_table(path)
    row = rng.randrange(len(lines))
    column, word = rng.randrange(len(lines[row])), rng.choice(WORDS)
    lines[row][column] = word
    _write_table(path, lines, sign)
    return f"{word[:40]!r} in row {row}, column {column}"


def write_column(path: Path, rng: Random) -> str:
    lines, sign = _read_table(path)
    column, word = rng.randrange(len(lines[0])), rng.choice(WORDS)
    for row in lines[1:]:
        row[column : column + 1] = [word]
    _write_table(path, lines, sign)
    return f"{word[:40]!r} all down column {column}"


def drop_column(path: Path, rng: Random) -> str:
    lines, sign = _read_table(path)
    column = rng.randrange(len(lines[0]))
    _write_table(path, [row[:column] + row[column + 1 :] for row in lines], sign)
    return str(column)


def double(path: Path, rng: Random) -> str:
    """A row, or a column, twice."""
    lines, sign = _read_table(path)
    place = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines.insert(place, lines[place])
    else:
        lines = [[*row, row[place % len(row)]] for row in lines]
    _write_table(path, lines, sign)
    return str(place)


def drop_rows(path: Path, rng: Random) -> str:
    lines, sign = _read_table(path)
    kept = lines[rng.choice((0, 1)) : rng.choice((1, 2, 3))]
    _write_table(path, kept, sign)
    return f"all but {len(kept)}"


def shuffle_columns(path: Path, rng: Random) -> str:
    lines, sign = _read_table(path)
    rng.shuffle(lines[0])
    _write_table(path, lines, sign)
    return "the header alone"


def change_separator(path: Path, rng: Random) -> str:
    lines, _ = _read_table(path)
    sign = rng.choice((",", ";", "\t", "|", " ", '","'))
    _write_table(path, lines, sign)
    return repr(sign)


def recode(path: Path, rng: Random) -> str:
    coding = rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32", "cp037"))
    path.write_bytes(path.read_text(encoding="utf-8").replace("a", "ä").encode(coding, errors="replace"))
    return coding


def quote(path: Path, rng: Random) -> str:
    text = path.read_text(encoding="utf-8")
    at = rng.randrange(len(text))
    path.write_text(text[:at] + rng.choice(('"', '""', "'", "\r", "\x00", "\x0c", "#")) + text[at:], encoding="utf-8")
    return f"at {at}"


TABLE = (
    write_cell, write_cell, write_cell, write_column, write_column, drop_column, double, drop_rows, shuffle_columns,
    change_separator, recode, quote,
)  # fmt: skip


def _read_table(path: Path) -> tuple[list[list[str]], str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    sign = max(",\t", key=lines[0].count)
    return [line.split(sign) for line in lines if line], sign


def _write_table(path: Path, lines: list[list[str]], sign: str) -> None:
    path.write_text("".join(sign.join(row) + "\n" for row in lines), encoding="utf-8", errors="surrogatepass")


# --- Matrix Market -------------------------------------------------------------------------------------------------


def lie_in_header(path: Path, rng: Random) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    if not lines[0].startswith("%%"):
        return write_cell(path, rng)
    size = next(number for number, line in enumerate(lines) if not line.startswith("%"))
    cells = lines[size].split()
    cells[rng.randrange(len(cells))] = str(rng.choice((0, -1, 1, 2**31, 2**40, 2**63, 10**30, "many", 7, "")))
    lines[size] = " ".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")
    return lines[size]


def change_banner(path: Path, rng: Random) -> str:
    banner, _, rest = path.read_text(encoding="utf-8").partition("\n")
    words = banner.split()
    options = ("array", "pattern", "complex", "symmetric", "skew-symmetric", "vector", "real", "integer", "", LONG)
    words[rng.randrange(len(words))] = rng.choice(options)
    path.write_text(" ".join(words) + "\n" + rest, encoding="utf-8")
    return " ".join(words)[:80]


def change_entry(path: Path, rng: Random) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    number = rng.randrange(len(lines))
    cells = lines[number].split() or [""]
    cells[rng.randrange(len(cells))] = rng.choice(("0", "-1", "nan", "1.5", "1e400", str(2**40), "x", "inf", "1 1"))
    lines[number] = " ".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"line {number}: {lines[number][:60]}"


MTX = (lie_in_header, lie_in_header, change_banner, change_entry, change_entry, *TABLE[:6])
