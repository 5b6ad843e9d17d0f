"""Compare what is installed with the lock file, and its licences with what the project may use.

Works offline, so it cannot know of vulnerabilities published since: for these run `pip-audit -r
requirements.txt` where there is a network. Exit 1 if anything is found. Run it as `python -m tools.audit`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = Path(__file__).resolve().parents[1]
LOCK = _PROJECT / "requirements.txt"
EXTRAS = tuple(sorted(_PROJECT.glob("requirements-*.txt")))
"""The locks of what is installed beside it where somebody wants it; each as a whole, or nothing of it."""
# Part of every virtual environment, or the project itself.
_NOT_LOCKED = frozenset({"pip", "setuptools", "innomaint-pipeline"})
_ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.*))?$"
)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"://|\s@\s|--(?:extra-)?index-url|--find-links|--trusted-host")

_FREE = re.compile(
    r"\b(?:MIT(?:-0)?|BSD|0BSD|Apache|ISC|PSF\w*|Python Software Foundation|MPL|Mozilla Public|Zlib|CC0|AFL)",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"GPL|General Public License|non-?commercial|\bNC\b|Proprietary|\bSSPL\b|\bBUSL\b", re.IGNORECASE
)
_REASONS: Mapping[str, str] = {
    "psycopg": "LGPL-3.0: used as it is, as a library that can be replaced; nothing of it is changed",
    "psycopg-binary": "LGPL-3.0, as psycopg",
    "psycopg2-binary": "LGPL with exceptions, as psycopg; Dagster's event log needs it",
    "odfpy": "a choice of Apache-2.0 or GPL: taken under Apache-2.0; the tests alone use it",
}
"""Why a package whose licence holds a word of `_BOUND` may be used all the same."""


@dataclass(frozen=True)
class Locked:
    """One entry of the lock file: its canonical name, version, marker and number of hashes."""

    name: str
    version: str
    marker: str | None
    hashes: int

    @property
    def is_for_here(self) -> bool:
        """Whether this platform installs it."""
        return self.marker is None or Marker(self.marker).evaluate()


def read_lock(text: str) -> list[Locked]:
    """Return the entries of a lock file; lines that continue with a backslash belong together."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        head, *_ = line.partition("--hash")
        if match := _ENTRY.match(head.strip()):
            hashes = len(_HASH.findall(line))
            found.append(Locked(canonicalize_name(match["name"]), match["version"], match["marker"], hashes))
    return found


def check_lock(text: str) -> Iterator[str]:
    """Yield what a lock file must not hold, or lacks."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith("#") and _ADDRESS.search(line):
            yield f"line {number} of the lock names an address: pins are names, versions and hashes alone"
    for entry in read_lock(text):
        if not entry.hashes:
            yield f"{entry.name} {entry.version} has no hash in the lock: run make lock"


def check_installed(locked: Iterable[Locked], installed: Mapping[str, str]) -> Iterator[str]:
    """Yield how what is installed, version by name, differs from the lock."""
    wanted = {entry.name: entry.version for entry in locked if entry.is_for_here}
    for name in sorted(wanted.keys() | installed.keys()):
        if name in _NOT_LOCKED:
            continue
        if name not in installed:
            yield f"{name} {wanted[name]} is in the lock and not installed: run make install"
        elif name not in wanted:
            yield f"{name} {installed[name]} is installed and not in the lock: run make clean install"
        elif wanted[name] != installed[name]:
            yield f"{name} is installed as {installed[name]}, the lock says {wanted[name]}: run make install"


def check_agreement(locks: Iterable[Iterable[Locked]]) -> Iterator[str]:
    """Yield packages of which two lock files, that may be installed together, want different versions."""
    versions: dict[tuple[str, str | None], str] = {}
    for entry in (entry for lock in locks for entry in lock):
        other = versions.setdefault((entry.name, entry.marker), entry.version)
        if other != entry.version:
            yield f"{entry.name} is locked as {other} and as {entry.version}: run make lock"


def check_needs(needs: Mapping[str, Iterable[str]], installed: Mapping[str, str]) -> Iterator[str]:
    """Yield requirements of installed packages that no installed version meets."""
    for name, lines in needs.items():
        for line in lines:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            version = installed.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                yield f"{name} needs {line}, {version or 'nothing'} is installed"


def check_licence(name: str, words: str) -> str | None:
    """Return what is wrong with the licence of a package, None when it may be used commercially."""
    if name in _REASONS:
        return None
    if _BOUND.search(words):
        return f"{name}: its licence may not be used here: {words}"
    if not _FREE.search(words):
        return f"{name}: its metadata name no licence that is known here: {words or 'nothing'}"
    return None


def licence_words(distribution: Distribution) -> str:
    """Return what a package says of its licence: the expression, else the field and the classifiers."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        item.rsplit("::", 1)[-1].strip()
        for item in metadata.get_all("Classifier") or []
        if item.startswith("License ::")
    ]
    # Some give the whole text, whose first line is enough.
    return "; ".join([*(metadata.get("License") or "").strip().splitlines()[:1], *classifiers])


def find_problems() -> list[str]:
    """Return everything that is wrong with the lock file and this environment."""
    texts = [path.read_text(encoding="utf-8") for path in (LOCK, *EXTRAS)]
    here = {canonicalize_name(item.metadata["Name"]): item for item in distributions()}
    installed = {name: item.version for name, item in here.items()}
    needs = {name: item.requires or [] for name, item in here.items() if name not in {"pip", "setuptools"}}
    licences = (
        check_licence(name, licence_words(item)) for name, item in here.items() if name not in _NOT_LOCKED
    )
    locked = read_lock(texts[0])
    for extra in map(read_lock, texts[1:]):
        if any(entry.name in installed for entry in extra):
            locked += extra
    return [
        *(problem for text in texts for problem in check_lock(text)),
        *check_agreement(map(read_lock, texts)),
        *check_installed(locked, installed),
        *check_needs(needs, installed),
        *(problem for problem in licences if problem is not None),
    ]


def main() -> int:
    """Print what was found; return the exit code."""
    problems = find_problems()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        sys.stdout.write("The installed packages are those of the lock, and may be used commercially.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
