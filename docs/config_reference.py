"""Writes docs/config.md from conf/: every key, its default and its comment. `make docs` runs it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs/config.md"
LONGEST = 110  # characters of a value; of a longer one the entries are counted

COMMANDS = {
    "train.yaml": "`train.py` (`softprompt-train`)",
    "analyze.yaml": "`analyze.py` (`softprompt-analyze`)",
    "predict.yaml": "`softprompt-predict`",
}
INTRODUCTION = """\
# Config reference

`make docs` writes this page from the comments in `conf/`.

Settings are composed by [Hydra](https://hydra.cc). `train.py` takes one file of each group below, such as
`optim=adamw`, and any key with its group in front of it, such as `optim.lr=0.01`. With `-m`, a list of values is a sweep
over them: `seed=0,1,2,3`. `???` is a value that has to be given. Where a description ends with numbers, they are the
values that are allowed.
"""


@dataclass(frozen=True)
class Key:
    """One key of a file.

    Attributes:
        name: the key, behind those that it stands under, joined by dots.
        value: as it stands in the file.
        comment: what stands above it and beside it. A comment above a key is also that of the keys without one that
            follow it without a blank line.
    """

    name: str
    value: str
    comment: str


@dataclass(frozen=True)
class ConfigFile:
    """One file of conf/.

    Attributes:
        path: relative to conf/.
        about: the comment at its top.
        bases: the entries of its `defaults`.
        keys: all others.
    """

    path: Path
    about: str
    bases: tuple[str, ...]
    keys: tuple[Key, ...]

    @property
    def group(self) -> str:
        """`optim` or `hydra/launcher`; empty for the settings of a command."""
        folder = self.path.parent.as_posix()
        return "" if folder == "." else "task" if folder.startswith("task/") else folder

    @property
    def choice(self) -> str:
        """What chooses it on a command line: `optim=adamw`."""
        return f"{self.group}={self.path.relative_to(self.group).with_suffix('').as_posix()}"


@cache
def read(path: Path) -> ConfigFile:
    """A file of conf/, by its path in it."""
    text = (CONF / path).read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode), path
    defaults = (yaml.safe_load(text) or {}).get("defaults", [])
    bases = [
        base if isinstance(base, str) else "{}={}".format(*next(iter(base.items()))) for base in defaults
    ]
    keys = [key for key in _keys(root, text, path) if key.name != "defaults"]
    return ConfigFile(path, _about(text), tuple(bases), tuple(keys))


def explanation(path: Path, key: Key) -> str:
    """A key's comment; what it refers to in another file, or its file does; empty if there is none."""
    if refers := re.match(r"as in (\S+\.yaml)(?:\.|$)(.*)", key.comment, re.IGNORECASE):
        return f"{_explanation_in(path.parent / refers[1], key.name)}{refers[2]}"
    if key.comment:
        return key.comment
    if refers := re.search(r"keys are explained in (\S+\.yaml)", _about((CONF / path).read_text())):
        return _explanation_in(path.parent / refers[1], key.name)
    if path.parent.name == "experiment":
        group, _, name = key.name.rpartition(".")
        explained_in = {"": "train.yaml", "trainer": "trainer/auto.yaml"}
        return _explanation_in(Path(explained_in[group]), name) if group in explained_in else ""
    return ""


def _explanation_in(path: Path, name: str) -> str:
    other = (CONF / path).resolve().relative_to(CONF)
    return next((explanation(other, key) for key in read(other).keys if key.name == name), "")


def _about(text: str) -> str:
    top = _comment_lines(text.splitlines(), 0, 1)
    return " ".join(line for line in top if not line.startswith("@package"))


def _comment_lines(lines: Sequence[str], start: int, step: int) -> list[str]:
    """The comment lines from a line on, upwards (step -1) or downwards (1), in the order of the file."""
    found = []
    while 0 <= start < len(lines) and lines[start].lstrip().startswith("#"):
        found.append(lines[start].lstrip().removeprefix("#").strip())
        start += step
    return found[::step]


def _keys(mapping: yaml.MappingNode, text: str, path: Path, prefix: str = "") -> Iterator[Key]:
    """The keys of a mapping. One that nothing explains has the keys under it instead."""
    lines = text.splitlines()
    paragraph = ""  # the comment at its top
    for key, value in mapping.value:
        line = key.start_mark.line
        is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
        end = key.end_mark if is_block else value.end_mark
        beside = lines[end.line][end.column :].lstrip(": ").removeprefix("#").strip()
        above = " ".join(_comment_lines(lines, line - 1, -1))
        if above or not lines[line - 1].strip():
            paragraph = above
        comment = f"{above} {beside}".strip() or paragraph
        found = Key(prefix + key.value, _value(value, text), comment)
        if is_block and isinstance(value, yaml.MappingNode) and not explanation(path, found):
            yield from _keys(value, text, path, f"{found.name}.")
        else:
            yield found


def _value(node: yaml.Node, text: str) -> str:
    source = " ".join(text[node.start_mark.index : node.end_mark.index].split())
    if isinstance(node, yaml.ScalarNode):
        return source
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        shown = source
    else:
        content = yaml.safe_load(yaml.serialize(node))
        shown = yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=10**6).strip()
    return f"{len(node.value)} entries" if len(shown) > LONGEST and len(node.value) > 1 else shown


def render() -> str:
    """The page."""
    paths = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
    files = [read(path) for path in paths]
    order = [base.split("=")[0] for base in read(Path("train.yaml")).bases]
    of_group = {group: [file for file in files if file.group == group] for group in _groups(order, files)}
    parts = [INTRODUCTION, *_overview(of_group)]
    for name, title in COMMANDS.items():
        parts += [f"## {title}", *_contents(read(Path(name)))]
    for group, members in of_group.items():
        parts.append(f"## `{group}`")
        for file in members:
            parts += [f"### `{file.choice}`", *_contents(file)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _groups(order: Sequence[str], files: Sequence[ConfigFile]) -> list[str]:
    """All groups: those of train.yaml in its order, then others."""
    groups = dict.fromkeys(file.group for file in files if file.group)
    return sorted(groups, key=lambda group: order.index(group) if group in order else len(order))


def _overview(of_group: dict[str, list[ConfigFile]]) -> Iterator[str]:
    defaults = dict(base.split("=") for base in read(Path("train.yaml")).bases if "=" in base)
    lines = ["| group | default | choices |", "|---|---|---|"]
    for group, members in of_group.items():
        default = defaults.get(group) or defaults.get(f"override {group}", "")
        choices = ", ".join(f"[`{file.choice.split('=')[1]}`](#{slug(file.choice)})" for file in members)
        lines.append(f"| `{group}` | `{default.replace('None', 'null')}` | {choices} |")
    yield "\n".join(lines)


def _contents(file: ConfigFile) -> Iterator[str]:
    """What a file is, what it starts from, and its keys."""
    yield re.sub(r"\S+\.yaml", lambda match: _link(file, match[0]), _escaped(file.about))
    if file.group:
        bases = [base for base in file.bases if base not in ("_self_", "packed_base")]
        chosen = [base.removeprefix("override /") for base in bases if base.startswith("override /")]
        own = [f"{file.group}={base}" for base in bases if "=" not in base]
        if own:
            yield f"Other keys are those of {', '.join(f'[`{base}`](#{slug(base)})' for base in own)}."
        if chosen:
            yield f"It sets {', '.join(f'[`{choice}`](#{slug(choice)})' for choice in chosen)}."
    rows = [(key, explanation(file.path, key)) for key in file.keys]
    says_nothing_new = "keys are explained in" in file.about and not any(key.comment for key in file.keys)
    lines = (
        ["| key | value |", "|---|---|"]
        if says_nothing_new
        else ["| key | default | meaning |", "|---|---|---|"]
    )
    for meaning, group in groupby(rows, key=lambda row: row[1]):
        members = [key for key, _ in group]
        if says_nothing_new:
            lines += [f"| `{key.name}` | {_code(key.value)} |" for key in members]
        else:
            names = "<br>".join(f"`{key.name}`" for key in members)
            values = "<br>".join(_code(key.value) for key in members)
            lines.append(f"| {names} | {values} | {_escaped(meaning)} |")
    yield "\n".join(lines)


def _link(file: ConfigFile, name: str) -> str:
    """A link to another file that a comment names, if it has a section here."""
    path = (CONF / file.path.parent / name).resolve()
    if not file.group or not path.is_relative_to(CONF) or not path.exists():
        return name
    return f"[{Path(name).name}](#{slug(read(path.relative_to(CONF)).choice)})"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _code(value: str) -> str:
    fence = "``" if "`" in value else "`"
    return f"{fence}{value}{fence}".replace("|", "\\|")


def _escaped(text: str) -> str:
    """A comment as Markdown in a cell: what is not code is text."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_|\[\]])", r"\\\1", part.replace("<", "&lt;")) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render())
