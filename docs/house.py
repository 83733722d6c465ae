"""The plan of the house: rooms in their order, and who imports whom, read from the code without running it.

`python docs/house.py` draws docs/house.svg and writes the table of the README, between its two markers;
`python docs/house.py --check` says in a sentence each where the code, the drawing and the table differ, and where an
import runs against the order. The order is in the docstring of the package, all else in those of the rooms.
"""

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARKERS = "<!-- house -->", "<!-- /house -->"
NOBODY = "no other room"  # but for the ground, which is everybody's
AGAIN = "Run `python docs/house.py`, and look at what it drew."


class WrongPlan(Exception):
    """The docstrings do not say what the plan is made of."""


@dataclass(frozen=True)
class Room:
    """A folder of the package, or a module that stands alone: its kind, what is in it, whom it may use, its lines."""

    name: str
    kind: str
    summary: str
    rule: str
    may_use: frozenset[str]
    modules: tuple[str, ...]
    lines: int


@dataclass(frozen=True)
class Import:
    """That a room uses another one: by which file and line, and which module of it is imported."""

    room: str
    used: str
    file: str
    line: int
    module: str


@dataclass(frozen=True)
class House:
    """All rooms in their order, the imports between them, and the names that the order does not know."""

    rooms: tuple[Room, ...]
    imports: tuple[Import, ...]
    strangers: tuple[str, ...]

    def of(self, *kinds: str) -> list[Room]:
        return [room for room in self.rooms if room.kind in kinds]


def read(package: Path) -> House:
    """Read the plan of a package from its folder."""
    kinds = dict(_order(package / "__init__.py"))
    rooms: list[Room] = []
    for name, kind in kinds.items():
        rooms.append(_room(package, name, kind, rooms))
    here = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/*.py")}
    imports = [
        found for room in rooms for file in _files(package, room.name) for found in _imports(package, room, file)
    ]
    return House(tuple(rooms), tuple(imports), tuple(sorted(here - set(kinds) - {"__init__"})))


def complaints(house: House) -> list[str]:
    """Say which imports run against the order, or to a room that a docstring does not allow; and what has no place."""
    place = {room.name: number for number, room in enumerate(house.rooms)}
    by_name = {room.name: room for room in house.rooms}
    said = [f"`{name}` is in no line of the order in the package's docstring." for name in house.strangers]
    for found in house.imports:
        where = f"{found.file}:{found.line}: `{found.room}` imports {found.module}"
        if found.used not in place:
            said.append(f"{where}, and there is no such room.")
        elif place[found.used] > place[found.room]:
            said.append(f"{where}, but `{found.used}` comes after `{found.room}`: imports run one way.")
        elif found.used not in by_name[found.room].may_use:
            said.append(f"{where}, but its docstring says it may use {by_name[found.room].rule}.")
    return said


def _order(init: Path) -> Iterator[tuple[str, str]]:
    for kind, names in re.findall(r"^    (\w+) +(\w.*)$", _docstring(init), re.MULTILINE):
        yield from ((name, kind) for name in names.split())


def _docstring(file: Path) -> str:
    if not file.exists():
        raise WrongPlan(f"{file}: there is no such file, and the order in the package's docstring names it.")
    return ast.get_docstring(ast.parse(file.read_bytes()), clean=True) or ""


def _files(package: Path, name: str) -> list[Path]:
    folder = package / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [package / f"{name}.py"]


def _room(package: Path, name: str, kind: str, above: list[Room]) -> Room:
    """Read one room; one that is a single module may use all above it."""
    folder = package / name
    init = folder / "__init__.py" if folder.is_dir() else package / f"{name}.py"
    text = _docstring(init)
    rule = re.search(r"^May use: (.+?)\.", text, re.MULTILINE | re.DOTALL)
    if folder.is_dir() and not (rule and "Takes: " in text and "Gives: " in text):
        raise WrongPlan(f"{init}: the docstring lacks `Takes: `, `Gives: ` or `May use: `.")
    said = " ".join(rule[1].split()) if rule else NOBODY if kind == "ground" else "all above"
    named = {room.name: {room.name} for room in above} | {NOBODY: set(), "all above": {room.name for room in above}}
    named["the foundations"] = {room.name for room in above if room.kind == "foundations"}
    if unknown := ", ".join(part for part in said.split(", ") if part not in named):
        raise WrongPlan(f"{init}: {unknown} under `May use` is no room above this one.")
    allowed = {room.name for room in above if room.kind == "ground"}.union(*(named[part] for part in said.split(", ")))
    files = _files(package, name)
    modules = tuple(file.stem for file in files if folder.is_dir() and file.name != "__init__.py")
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    return Room(name, kind, text.partition("\n")[0].rstrip("."), said, frozenset(allowed), modules, lines)


def _imports(package: Path, room: Room, file: Path) -> Iterator[Import]:
    """Every import of another room, wherever in the file it stands."""
    parts = (package.name, *file.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(parts[: len(parts) + 1 - node.level]) if node.level else []
            start = ".".join(base + (node.module.split(".") if node.module else []))
            names = [start] if start.count(".") else [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            used = rest.partition(".")[0]
            if top == package.name and used not in ("", "__version__", room.name):
                yield Import(room.name, used, str(file.relative_to(package.parent)), node.lineno, rest)


def table(house: House) -> str:
    """The README's table: a row a room."""
    rows = ["| room | what is in it | may use |", "|---|---|---|"]
    for room in house.rooms:
        path = f"{room.name}/" if room.modules else f"{room.name}.py"
        rows.append(f"| [`{path}`](src/retrainlab/{path.rstrip('/')}) | {room.summary} | {room.rule} |")
    return "\n".join(rows)


# The drawing. Rooms are a column; from each a line goes to the right and, at its corner, down past the rooms that come
# after it, with a dot where one of them uses it. All in pixels; texts leave room for wide fonts.
WIDTH, EDGE, TEXT, CORNERS, STEP = 900, 36, 146, 552, 22
INK, SOFT, LINE, DOT, PAPER, BORDER = "#1d2733", "#59646f", "#aeb9c4", "#0b5cad", "#fdfcfa", "#e3dfd6"
SHADE = {"ground": "#f3f2ee", "foundations": "#ebf2fa", "rooms": PAPER, "doors": "#faf0df"}
STYLE = f"""<style>
text {{ font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: {INK} }}
.name {{ font-size: 14px; font-weight: 650 }}
.modules {{ font: 10.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: {SOFT} }}
.note {{ font-size: 11px; fill: {SOFT} }}
.line {{ fill: none; stroke: {LINE}; stroke-width: 1.6 }}
.dot {{ fill: {DOT} }}
.size {{ fill: #93a0ac }}
</style>"""


def draw(house: House) -> str:
    """The drawing, as SVG."""
    tops = [1]
    for room in house.rooms:
        tops.append(tops[-1] + (26 if room.kind == "ground" else 22 + 15 * len(_words(room))))
    bands = [_band(room, *tops[n : n + 2]) for n, room in enumerate(house.rooms)]
    cards = [_card(room, top) for room, top in zip(house.rooms, tops, strict=False)]
    first = len(house.of("ground"))
    lines, dots = _lines(house.rooms[first:], [top + 15 for top in tops[first:]], house)
    everybody = f'<text class="note" x="{WIDTH - 18}" y="19" text-anchor="end">used by all rooms</text>'
    flow = _flow(tops[len(house.of("ground", "foundations"))] + 8, tops[-len(house.of("doors")) - 1] - 8)
    high = tops[-1] + 1
    frame = f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{high - 1}" fill="none" stroke="{BORDER}"/>'
    size = f'viewBox="0 0 {WIDTH} {high}" width="{WIDTH}" height="{high}"'
    parts = [*bands, everybody, flow, *_legend(tops[first] + 15), *lines, *dots, *cards, frame]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', STYLE, *parts, "</svg>"]) + "\n"


def _flow(top: int, bottom: int) -> str:
    """The arrow in the margin."""
    middle = (top + bottom) // 2
    turned = f'transform="translate(22 {middle}) rotate(-90)" text-anchor="middle"'
    return (
        f'<path class="line" d="M18 {top}V{middle - 54}M18 {middle + 54}V{bottom}m-4 -7l4 7l4 -7"/>'
        f'<text class="note" {turned}>data flows down</text>'
    )


def _words(room: Room) -> list[tuple[str, str]]:
    """The lines of text of a room's card, each with its class."""
    said = textwrap.wrap(room.summary.replace("->", "→").replace("`", ""), 56 if room.kind != "ground" else 110)
    return [(line, "text") for line in said] + [(line, "modules") for line in textwrap.wrap(" ".join(room.modules), 62)]


def _text(x: float, y: float, said: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(said)}</text>'


def _band(room: Room, top: int, bottom: int) -> str:
    box = f'x="1" y="{top}" width="{WIDTH - 2}" height="{bottom - top}" fill="{SHADE[room.kind]}"'
    return f'<rect {box}/><path d="M1 {bottom}h{WIDTH - 2}" stroke="{BORDER}"/>'


def _card(room: Room, top: int) -> str:
    said = [_text(EDGE, top + 19, room.name if room.modules else f"{room.name}.py", "name")]
    said += [_text(TEXT, top + 19 + 15 * n, *line) for n, line in enumerate(_words(room))]
    squares = "".join(f"M{EDGE + 5.4 * n:.1f} {top + 27}h4v4h-4z" for n in range(max(1, round(room.lines / 100))))
    return "\n".join(said if room.kind == "ground" else [*said, f'<path class="size" d="{squares}"/>'])


def _lines(rooms: Sequence[Room], heights: Sequence[int], house: House) -> tuple[list[str], list[str]]:
    """Each room's line: right, past what it uses, to its corner, and down as far as it is used; and all dots."""
    place = {room.name: number for number, room in enumerate(rooms)}
    uses = sorted({(place[i.used], place[i.room]) for i in house.imports if i.used in place})
    lines = []
    for number, (room, y) in enumerate(zip(rooms, heights, strict=False)):
        x = CORNERS + STEP * number
        if last := max((user for used, user in uses if used == number), default=0):
            lines.append(f'<path class="line" d="M{CORNERS - 14} {y}H{x - 7}Q{x} {y} {x} {y + 7}V{heights[last]}"/>')
            lines.append(_text(x + 6, y + 3, room.name, "note"))
        else:
            right = CORNERS + STEP * max((used for used, user in uses if user == number), default=0)
            lines.append(f'<path class="line" d="M{CORNERS - 14} {y}H{right}"/>')
    dots = [f'<circle class="dot" cx="{CORNERS + STEP * at}" cy="{heights[user]}" r="4.5"/>' for at, user in uses]
    return lines, dots


def _legend(y: int) -> list[str]:
    """How to read it, in the corner that stays free because imports run one way."""
    x = 712
    signs = f'<circle class="dot" cx="{x}" cy="{y}" r="4.5"/><path class="size" d="M{x - 2} {y + 62}h4v4h-4z"/>'
    signs += f'<path class="line" d="M{x - 6} {y + 30}h3q4 0 4 4v16"/>'
    said = {4: "this row uses the room", 18: "whose line comes down here"}
    said |= {36: "lines only go down:", 50: "imports run one way", 68: "a hundred lines of code"}
    shades = {"foundations": "foundations: use nobody", "doors": "doors: what people hold"}
    for down, (kind, meaning) in zip((90, 108), shades.items(), strict=True):
        signs += f'<path d="M{x - 5} {y + down - 4}h10v10h-10z" fill="{SHADE[kind]}" stroke="{BORDER}"/>'
        said[down + 5] = meaning
    return [signs, *(_text(x + 14, y + down, line, "note") for down, line in said.items())]


def write(root: Path = ROOT) -> list[str]:
    """Draw the plan, and write the README's table; say what in the code is against it."""
    house = read(root / "src" / "retrainlab")
    (root / "docs" / "house.svg").write_text(draw(house), encoding="utf-8")
    readme = root / "README.md"
    readme.write_text(_with_table(readme.read_text(encoding="utf-8"), table(house)), encoding="utf-8")
    return complaints(house)


def check(root: Path = ROOT) -> list[str]:
    """Say what of the plan is not true: sentences, none where all is."""
    house = read(root / "src" / "retrainlab")
    said = complaints(house)
    drawing, readme = root / "docs" / "house.svg", (root / "README.md").read_text(encoding="utf-8")
    if not drawing.exists() or _structure(drawing.read_text(encoding="utf-8")) != _structure(draw(house)):
        said.append(f"docs/house.svg shows other rooms, modules or imports than the code has. {AGAIN}")
    if _with_table(readme, table(house)) != readme:
        said.append(f"The README's table of rooms differs from their docstrings. {AGAIN}")
    return said


def _structure(drawing: str) -> str:
    """What of a drawing must be true to the letter: all but the sizes, which change with every line of code."""
    return re.sub(r'<path class="size".*', "", drawing)


def _with_table(readme: str, rows: str) -> str:
    start, end = MARKERS
    if readme.count(start) != 1 or readme.count(end) != 1:
        raise WrongPlan(f"README.md has no place for the table of rooms: it lacks {start} and {end}.")
    return f"{readme.partition(start)[0]}{start}\n{rows}\n{end}{readme.partition(end)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the plan of the house, or check that it is true.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where something is not true")
    try:
        said = check() if parser.parse_args().check else write()
    except WrongPlan as error:
        said = [str(error)]
    for sentence in said:
        print(sentence, file=sys.stderr)
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
