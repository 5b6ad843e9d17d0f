"""The audit of the dependencies finds what it looks for, and nothing in this environment."""

import pytest

from tools.audit import (
    EXTRAS,
    LOCK,
    Locked,
    check_agreement,
    check_installed,
    check_licence,
    check_lock,
    check_needs,
    find_problems,
    read_lock,
)

HASH = "--hash=sha256:" + "a" * 64


def test_this_environment_is_the_lock_and_may_be_used():
    assert find_problems() == []
    assert len(read_lock(LOCK.read_text("utf-8"))) > 100
    assert [path.stem for path in EXTRAS] == [
        f"requirements-{extra}" for extra in ("celery", "docker", "kubernetes")
    ]


def test_two_locks_that_disagree_are_found():
    one, other = (Locked("some", version, None, 1) for version in "12")
    assert len(list(check_agreement([[one], [other]]))) == 1
    assert list(check_agreement([[one], [one]])) == []


def test_entries_are_read_with_their_markers_and_hashes():
    text = f"Some_Thing==1.2 ; sys_platform == 'win32' \\\n    {HASH} \\\n    {HASH}\n# a comment\nplain==3\n"
    assert read_lock(text) == [
        Locked("some-thing", "1.2", "sys_platform == 'win32'", 2),
        Locked("plain", "3", None, 0),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (f"some==1 \\\n    {HASH}\n--{option} elsewhere\n", "names an address")
            for option in ("index-url", "extra-index-url", "find-links", "trusted-host")
        ),
        (f"some==1 \\\n    {HASH}\n-r scheme://place\n", "names an address"),
        (f"some @ wheels/some.tar {HASH}\n", "names an address"),
        ("some==1\n", "has no hash"),
        ("some==1 --hash=sha256:abc\n", "has no hash"),
    ],
)
def test_an_address_or_a_missing_hash_is_found(text, problem):
    (found,) = check_lock(text)
    assert problem in found


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ({}, "not installed"),
        ({"some": "2"}, "the lock says 1"),
        ({"some": "1", "other": "5"}, "not in the lock"),
    ],
)
def test_an_environment_that_differs_from_the_lock_is_found(installed, problem):
    locked = [Locked("some", "1", None, 1), Locked("elsewhere", "1", "sys_platform == 'no such'", 1)]
    (found,) = check_installed(locked, installed)
    assert problem in found
    assert not list(check_installed(locked, {"some": "1", "pip": "9"}))


def test_a_requirement_that_nothing_meets_is_found():
    needs = {"some": ["other>=2", "third; extra == 'never'", "fourth"]}
    assert list(check_needs(needs, {"other": "1", "fourth": "1"})) == ["some needs other>=2, 1 is installed"]


@pytest.mark.parametrize(
    ("words", "is_fine"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("CC-BY-NC-4.0", False),
        ("Proprietary", False),
        ("see the file", False),
        ("", False),
    ],
)
def test_a_licence_is_judged_by_its_words(words, is_fine):
    assert (check_licence("some", words) is None) is is_fine


def test_a_bound_licence_is_used_only_for_a_reason_that_is_written_down():
    assert check_licence("psycopg", "LGPL-3.0-only") is None
    assert check_licence("another", "LGPL-3.0-only") is not None
