"""Remove one defence at a time from a copy of the package, and see that its test fails.

Nothing is changed in the working folder. Exit 1 if a defence can be removed unnoticed, or if its text no
longer stands in its file exactly once. Arguments: words of the names of the mutations to run, none for all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("innomaint_pipeline", "innomaint_pipeline_tests")
_FILES = ("pyproject.toml", "dagster.yaml", "workspace.yaml", "README.md")
_LONGEST_TEST_SECONDS = 300


@dataclass(frozen=True)
class Mutation:
    """A defence: its text in a file of the package, what stands there instead, the test that must fail."""

    name: str
    file: str
    found: str
    put: str
    test: str


MUTATIONS = (
    Mutation(
        "pacing: who wakes looks again",
        "store/pacing.py",
        "        while remaining is not None:\n",
        "        if remaining is not None:\n",
        "store/test_pacing.py::test_a_429_stops_everybody_also_those_who_wait_already",
    ),
    Mutation(
        "another serial number",
        "domain/innomaint/answers.py",
        "if normalise_id(str(answered)) != normalise_id(cmms_asset_id):",
        "if False:",
        "domain/innomaint/test_answers.py::test_ids_that_differ_by_anything_else_are_not_the_same",
    ),
    Mutation(
        "lease",
        "store/leases.py",
        "where=or_(is_own, not_(_is_live())),",
        "",
        "store/test_leases.py::test_a_leased_batch_is_refused_to_a_second_owner",
    ),
    Mutation(
        "hash: unchanged answers",
        "sync/innomaint/steps.py",
        "is_changed=answer.body_hash != answer.applied_hash,",
        "is_changed=True,",
        "sync/innomaint/test_unchanged.py::test_an_unchanged_answer_is_logged_as_a_success_and_counted",
    ),
    Mutation(
        "split on failure",
        "store/rows.py",
        "for part in (items[:middle], items[middle:])",
        "for part in (items[:middle],)",
        "store/test_splitting.py::test_bad_rows_are_found_and_refused_one_by_one",
    ),
    Mutation(
        "deadline by the wall clock",
        "sources/http.py",
        "async with asyncio.timeout(self._policy.timeout_seconds):",
        "async with asyncio.timeout(6):",
        "sources/test_http.py::test_fifteen_seconds_mean_the_whole_attempt",
    ),
    Mutation(
        "size of an answer",
        "sources/bodies.py",
        "    if len(content) > limit:\n        raise",
        "    if False:\n        raise",
        "sources/test_http.py::test_an_error_that_stays_is_asked_once",
    ),
    Mutation(
        "all or nothing",
        "store/database.py",
        "with engine.begin() as connection:",
        'with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:',
        "sync/innomaint/test_failing_assets.py::"
        "test_a_value_that_the_database_refuses_fails_one_asset_and_writes_nothing_of_it",
    ),
    Mutation(
        "class of 404",
        "domain/http_answers.py",
        "if status in MISSING_STATUSES:",
        "if False:",
        "sources/test_http.py::test_an_error_that_stays_is_asked_once",
    ),
    Mutation(
        "redaction",
        "redaction.py",
        "        text = remove(text)\n",
        "        pass\n",
        "security/test_redaction.py::test_an_error_is_raised_without_the_token_in_it_or_its_causes",
    ),
    Mutation(
        "totals of a customer list",
        "domain/customers/totals.py",
        "        if total is None or found is None or total != found:\n",
        "        if total is None or found is None:\n",
        "sources/customers/test_reading.py::test_each_fault_of_the_generator_fails_the_check_that_it_is_made_for",
    ),
    Mutation(
        "rows of a cycle at the same edges",
        "domain/customers/assembling.py",
        "if abs(found - expected) > _EDGE_TOLERANCE:",
        "if False:",
        "sources/customers/test_reading.py::test_pages_in_another_order_are_found_though_every_sum_agrees",
    ),
    Mutation(
        "checksums of a customer list",
        "sources/customers/reading.py",
        "if self.wrong_checksums and 2 * len(self.wrong_checksums) <= self.packed:",
        "if False:",
        "sources/customers/test_reading.py::"
        "test_damage_that_pdfium_does_not_notice_refuses_the_file_and_names_the_page",
    ),
    Mutation(
        "hyphens that pdfium hides",
        "sources/customers/pdf_pages.py",
        "if _is_hyphen(self._text_page, index) == 1:",
        "if False:",
        "sources/customers/test_reading.py::test_a_hyphen_at_the_end_of_a_text_or_line_is_a_hyphen",
    ),
    Mutation(
        "a list that is still growing",
        "sources/customers/inbox_watcher.py",
        "if not is_ended and may_be_growing(newest.file_time, datetime.now(UTC)):",
        "if False:",
        "sources/customers/test_inbox.py::test_a_file_without_its_end_is_growing_while_its_time_is_young",
    ),
    Mutation(
        "account: its own runs",
        "defs/account.py",
        "whose = {} if ACCOUNT is None else {ACCOUNT_TAG: ACCOUNT}",
        "whose = {}",
        "defs/test_account.py::test_names_runs_and_partitions_are_those_of_the_account_and_without_one_as_ever",
    ),
    Mutation(
        "account: partitions of its own",
        "defs/account.py",
        'name=name if ACCOUNT is None else f"{name}_{ACCOUNT}"',
        "name=name",
        "defs/test_account.py::test_names_runs_and_partitions_are_those_of_the_account_and_without_one_as_ever",
    ),
    Mutation(
        "account: tags of what the UI launches",
        "defs/account.py",
        "if tags.items() - context.dagster_run.tags.items():",
        "if False:",
        "test_dagster_yaml.py::test_a_run_that_is_launched_anywhere_says_whose_it_is_by_its_code_location",
    ),
    Mutation(
        "account: a run in another's database",
        "defs/recovery.py",
        "        require_account(connection, ACCOUNT)",
        "        pass",
        "defs/test_account.py::test_a_run_in_the_database_of_another_account_fails_before_it_asks_for_anything",
    ),
    Mutation(
        "account: a database remembers",
        "store/settings.py",
        "    if stored == account:\n        return\n    if stored is None:",
        "    if True:\n        return\n    if stored is None:",
        "cli/test_accounts.py::test_a_database_remembers_its_account_and_another_one_is_refused_without_a_request",
    ),
    Mutation(
        "account: two share",
        "cli/accounts.py",
        "            if value in holders:",
        "            if False:",
        "cli/test_accounts.py::test_what_two_accounts_may_not_share_is_named_and_refused_before_anything_starts",
    ),
    Mutation(
        "account: a lost run's database",
        "defs/resources.py",
        "    url = find_database_url(account)",
        "    url = find_database_url(None)",
        "defs/test_account.py::test_a_run_is_judged_by_the_database_of_its_own_account",
    ),
)


def copy_to(folder: Path) -> None:
    """Copy what the tests need, with what Python has compiled of it: each run would compile it anew."""
    for name in _PACKAGES:
        shutil.copytree(ROOT / name, folder / name)
    for name in _FILES:
        shutil.copy(ROOT / name, folder)


def run_mutation(folder: Path, mutation: Mutation) -> str:
    """Return `caught` or `SURVIVED`, with the reason; the copy in `folder` is whole again afterwards."""
    path = folder / _PACKAGES[0] / mutation.file
    whole = path.read_text(encoding="utf-8")
    count = whole.count(mutation.found)
    if count != 1:
        return f"SURVIVED: its text stands {count} times in {mutation.file}, expected once"
    path.write_text(whole.replace(mutation.found, mutation.put), encoding="utf-8")
    try:
        ended = run_tests(folder, [mutation.test])
    except subprocess.TimeoutExpired:
        return f"SURVIVED: its test did not end within {_LONGEST_TEST_SECONDS} s"
    finally:
        path.write_text(whole, encoding="utf-8")
    # 1 means failed tests; anything else, that the test did not run at all.
    return "caught" if ended == 1 else f"SURVIVED: pytest ended with {ended}, expected 1 from {mutation.test}"


def run_tests(folder: Path, tests: list[str]) -> int:
    """Run tests in the copy; return how pytest ended, 0 if all have passed."""
    # The copy first, so that the installed package is not what is tested.
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    return subprocess.run(  # this interpreter, our tests
        [*command, *(f"{_PACKAGES[1]}/{test}" for test in tests)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=_LONGEST_TEST_SECONDS,
    ).returncode


def main(words: list[str]) -> int:
    """Run the mutations whose names hold one of the words; 1 if one survives or none is chosen."""
    chosen = [item for item in MUTATIONS if not words or any(word in item.name for word in words)]
    results: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        copy_to(Path(name))
        # A test that fails by itself would make every mutation look caught.
        ended = run_tests(Path(name), sorted({item.test for item in chosen})) if chosen else 0
        if ended != 0:
            sys.stdout.write(f"without a mutation pytest ended with {ended}, expected 0: run make test\n")
            return 1
        for mutation in chosen:
            results.append(run_mutation(Path(name), mutation))
            sys.stdout.write(f"{mutation.name}: {results[-1]}\n")
            sys.stdout.flush()
    return 0 if results and all(result == "caught" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
