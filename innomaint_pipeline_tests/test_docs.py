"""The README and the pages of docs/ against the code: what they name exists, and what exists is named."""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import click
import psycopg
import pytest
from pydantic import SecretStr

import innomaint_pipeline
from innomaint_pipeline import accounts, errors, settings
from innomaint_pipeline.api import access
from innomaint_pipeline.api.app import build_app, describe_service
from innomaint_pipeline.api.innomaint.models import StatusAnswer
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.cli.demo import DEMO_ASSETS
from innomaint_pipeline.cli.environment import CONCURRENT_RUNS
from innomaint_pipeline.cli.innomaint.workers import WORKERS
from innomaint_pipeline.cli.main import cli
from innomaint_pipeline.cli.processes import _MOST_RESTARTS, _WITHIN_SECONDS
from innomaint_pipeline.domain import health, pacing
from innomaint_pipeline.domain.innomaint import health as innomaint_health
from innomaint_pipeline.domain.innomaint import launches as automation
from innomaint_pipeline.domain.innomaint.answers import VOLATILE_FIELDS
from innomaint_pipeline.domain.innomaint.selection import SyncResult
from innomaint_pipeline.domain.innomaint.stops import WHAT_HELPS
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, WHAT_TO_DO, ErrorClass, retry_delay
from innomaint_pipeline.domain.words import STATE_WORDS
from innomaint_pipeline.embedded.data import SYSTEM_USER
from innomaint_pipeline.embedded.watch import POSTGRES_MAJOR
from innomaint_pipeline.simulator.innomaint.demo import demo_faults
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.http import RATE_LIMIT_REPEATS
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.housekeeping import LOG_RETENTION
from innomaint_pipeline.store.leases import LEASE_SECONDS, RENEWAL_SECONDS
from innomaint_pipeline.store.tables import metadata
from innomaint_pipeline.sync.workbook.importing import ImportReport
from tools.dictionary import build_dictionary

PACKAGE = Path(innomaint_pipeline.__file__).parent
ROOT = PACKAGE.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "SECURITY.md")
}
README = PAGES["README.md"]
TEXT = "\n".join(PAGES.values())
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = " ".join(BLOCK.sub("", TEXT).split())
ALLOWED_HOSTS = {"127.0.0.1:3000", "127.0.0.1:9090", "app.innomaint.com"}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DAY_SECONDS = 24 * 3600
RATE_PER_SECOND = 1000 / settings.Settings.model_fields["innomaint_rate_ms"].default
BATCH_SIZE = settings.Settings.model_fields["innomaint_batch_size"].default
# Where the examples of services install the program.
OWNER_IN_AN_EXAMPLE = "ic3_owner"
ACCOUNT_IN_EXAMPLES = "north"
INSTALLED = ("/opt/innomaint_pipeline", "C:\\innomaint_pipeline")
LONGEST_README_LINES = 160


@cache
def section(title: str) -> str:
    """Return the text below a heading, up to the next one of its rank or a higher one."""
    (found,) = re.finditer(rf"^(#+) {re.escape(title)}\n", without_blocks(TEXT), re.MULTILINE)
    rest = TEXT[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", without_blocks(rest), re.MULTILINE)
    return rest[: end.start()] if end else rest


def without_blocks(text: str) -> str:
    """Blank the blocks of code, in which a comment begins like a heading; positions stay."""
    return BLOCK.sub(lambda block: re.sub(r"\S", " ", block[0]), text)


def table(title: str, first_header: str, second_header: str | None = None) -> list[list[str]]:
    """Return the cells of the table in a section that has these headers, row by row."""
    lines = section(title).split("\n")
    for number, line in enumerate(lines):
        header = cells(line) if line.startswith("|") else []
        if header[:1] == [first_header] and second_header in {None, *header[1:2]}:
            rows = []
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
                assert len(rows[-1]) == len(header), f"{row!r} has not the columns {header}"
            return rows
    raise AssertionError(f"section {title!r} has no table of {first_header!r}")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def code(text: str) -> list[str]:
    """Return what stands between single backticks, on one line."""
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]


def code_blocks(language: str) -> list[str]:
    return [body for name, body in BLOCK.findall(TEXT) if name == language]


# Commands


def commands() -> dict[str, click.Command]:
    """Return every command by its words, groups only where they have options of their own."""
    found: dict[str, click.Command] = {"innomaint": cli}

    def walk(group: click.Group, words: str) -> None:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                assert not long_options(command), "an option of a group has no place in the table"
                walk(command, f"{words} {name}")
            else:
                found[f"{words} {name}"] = command

    walk(cli, "innomaint")
    return found


def long_options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }


def documented_options(command: str, cell: str) -> set[str]:
    options = {name for name in code(cell) if name.startswith("--")}
    if command == "innomaint sync":
        selections = " ".join(row[0] for row in table("Commands", "option"))
        options |= set(re.findall(r"--[a-z-]+", selections))
    if command == "innomaint simulate":
        (sentence,) = re.findall(r"^`innomaint simulate` takes (.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
        options |= {name for name in code(sentence) if name.startswith("--")}
    return options


def test_every_command_and_option_is_in_the_commands_table_and_none_besides():
    documented = {
        code(row[0])[0]: documented_options(code(row[0])[0], row[1]) for row in table("Commands", "command")
    }
    assert documented == {words: long_options(command) for words, command in commands().items()}


def test_the_choices_of_an_argument_are_in_the_commands_table():
    documented = {code(row[0])[0]: code(row[1]) for row in table("Commands", "command")}
    choices = {
        words: list(parameter.type.choices)
        for words, command in commands().items()
        for parameter in command.params
        if isinstance(parameter, click.Argument) and isinstance(parameter.type, click.Choice)
    }
    assert choices
    assert {words: documented[words] for words in choices} == choices


def used_command_lines() -> set[tuple[str, ...]]:
    """Return what follows `innomaint` wherever the text or a block of code shows a command to type."""
    shell = "\n".join([*code_blocks("sh"), *code_blocks("powershell")]).splitlines()
    lines = [*code(PROSE), *(line.partition("#")[0].strip() for line in shell)]
    found = [re.search(r"(?:^|[/\\])innomaint ([a-z-].*)$", line) for line in lines]
    return {tuple(item[1].split()) for item in found if item and "COMMAND" not in item[1]}


def parse(command: click.Command, context: click.Context, words: list[str]) -> None:
    if not isinstance(command, click.Group):
        command.parse_args(context, words)
        return
    command.parse_args(context, words)
    name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None, name
    # The name of a command alone stands for a command that needs an argument.
    if rest or not any(isinstance(item, click.Argument) for item in found.params):
        parse(found, click.Context(found, info_name=name, parent=context), rest)


def test_every_command_line_in_the_text_parses():
    lines = used_command_lines()
    assert {("db", "upgrade"), ("--demo", "sync", "--retry-failed")} < lines
    for words in lines:
        parse(cli, click.Context(cli, info_name="innomaint"), list(words))


def test_the_exit_codes_are_those_of_the_errors():
    documented = {int(row[0]): set(code(row[2])) for row in table("Commands", "exit")}
    expected: dict[int, set[str]] = {0: set()}
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.InnomaintPipelineError):
            expected.setdefault(error.exit_code, set()).add(name)
    assert documented == expected


def json_keys(command: str) -> list[str]:
    (line,) = re.findall(rf"^- JSON of `{command}`: (.*?)(?=^- |\n\n)", TEXT, re.MULTILINE | re.DOTALL)
    return code(line)


def test_the_json_keys_of_import_and_sync_are_documented():
    report = ImportReport(
        "book", ("sheet",), rows=0, inserted=0, updated=0, unchanged=0, rejected=0, missing=0, batches=0
    )
    assert json_keys("import") == list(report.to_json())
    assert json_keys("sync") == list(SyncResult().to_json())


def test_the_words_of_states_are_documented():
    colours = {"complete": "green", "partial": "amber", "failed": "red", "running": "blue", "never": "grey"}
    documented = {code(name)[0]: tuple(cells) for name, *cells in table("Words", "name")}
    assert documented == {
        name: (word.word, word.sign, colours[word.tone], word.meaning) for name, word in STATE_WORDS.items()
    }


def test_every_cause_of_a_stopped_run_is_documented_with_what_helps():
    documented = {code(row[0])[0]: row[2] for row in table("Why a batch run did not end well", "cause")}
    assert documented == {str(cause): advice for cause, advice in WHAT_HELPS.items()}


def test_the_json_keys_of_status_are_documented():
    assert json_keys("status") == list(StatusAnswer.model_fields)


# Admin service


def test_every_address_is_in_the_table_and_none_besides():
    documented = [entry.split() for row in table("Admin service", "address") for entry in code(row[0])]
    paths = document_of_the_service()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    hidden = {("GET", "/openapi.json"), ("GET", "/sync"), ("GET", "/sync/static/{name}")}
    assert {(method, path) for method, path in documented} == served | hidden


def document_of_the_service():
    nowhere = Database("postgresql://nobody@127.0.0.1/x")
    parts = Parts(nowhere, pacing.SourceAccount("a", 5, 5.0), sync_now=str)
    return describe_service(build_app(parts, SecretStr("t"), host="localhost").app)


def test_the_limit_on_wrong_tokens_is_that_of_the_code():
    assert f"After {access.WRONG_PER_CLIENT} wrong tokens from one address within a minute" in PROSE
    assert access.WINDOW_SECONDS == 60


# Environment


def default_of(name: str) -> str:
    default = settings.Settings.model_fields[name].default
    return "" if default in (None, ()) else str(default)


def expected_defaults() -> dict[str, str]:
    return {name.upper(): default_of(name) for name in settings.Settings.model_fields}


def test_every_setting_is_in_the_variables_table_with_its_default_and_none_besides():
    documented = {}
    for name, default, _ in table("Environment", "variable"):
        assert default == "none" or code(default), (
            f"{name}: the default {default!r} is neither `value` nor none"
        )
        documented[code(name)[0]] = "" if default == "none" else code(default)[0]
    assert documented == expected_defaults()


def test_every_setting_is_in_the_example_file_with_its_default_and_none_besides():
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    assert len(pairs) == len(dict(pairs))
    assert dict(pairs) == expected_defaults()


def test_every_variable_in_the_text_is_one_of_the_settings_or_of_dagster():
    named = set(re.findall(r"\b(?:INNOMAINT|IC3|DAGSTER)_[A-Z0-9_]+\b", TEXT))
    others = {"DAGSTER_HOME", CONCURRENT_RUNS, accounts.database_variable(ACCOUNT_IN_EXAMPLES)}
    assert named - set(expected_defaults()) == others


# States


def spoken(error_class: ErrorClass) -> str:
    first, later = retry_delay(error_class, 1), retry_delay(error_class, 50)
    if first == later:
        return {timedelta(days=7): "a week", timedelta(days=1): "a day"}[first]
    minutes, hours = first // timedelta(minutes=1), later // timedelta(hours=1)
    return f"{minutes} minutes, doubling up to {hours} hours"


def test_the_error_classes_are_those_of_the_code():
    documented = {code(row[0])[0]: row[2:] for row in table("States and errors", "class", "from")}
    assert documented == {
        str(item): ["yes" if item in RETRYABLE_CLASSES else "no", spoken(item)] for item in ErrorClass
    }


def test_the_advice_for_each_error_class_is_that_of_the_code():
    documented = {code(name)[0]: advice for name, advice in table("States and errors", "class", "what to do")}
    assert documented == {str(name): advice for name, advice in WHAT_TO_DO.items()}


def test_the_words_of_health_are_those_of_the_code():
    documented = {code(row[0])[0] for row in table("States and errors", "word")}
    assert documented == set(health.Health)


@pytest.mark.parametrize(
    "fragment",
    [
        f"opens after {pacing.BREAKER_THRESHOLD} transient failures in a row",
        f"a probe after {pacing.FIRST_PROBE_SECONDS:.0f} s",
        f"later after up to {pacing.LONGEST_PROBE_SECONDS / 60:.0f} minutes",
        f"at most {pacing.LONGEST_STOP_SECONDS / 60:.0f} minutes",
        f"falls to {pacing.RATE_CUT} of itself",
        f"by {pacing.RATE_STEP_PER_SECOND}/s for every {pacing.SUCCESSES_PER_STEP} successes",
        f"valid for {LEASE_SECONDS:.0f} s and renewed every {RENEWAL_SECONDS:.0f} s",
        f"expire by themselves within {LEASE_SECONDS:.0f} s",
        f"at most {RATE_LIMIT_REPEATS} repeats in a pass",
        "`{2}` grows with the clock, and `{0}` and `{1}` with it".format(*VOLATILE_FIELDS),
        f"keeps up to {automation.BATCHES_IN_FLIGHT} batches in flight",
        f"After {automation.TRIAL_AFTER_FAILURES} failed batch runs in a row",
        f"removes log rows after {LOG_RETENTION.days} days",
        f"the last {innomaint_health.FAILED_BATCHES_IN_A_ROW} batches failed",
        f"more than {100 * innomaint_health.FAILED_SHARE:.0f} % of the CMMS assets",
        f"as the system user `{SYSTEM_USER}`",
        f"`pg_dump` of PostgreSQL {POSTGRES_MAJOR} or later",
        f"up to {('one', 'two', 'three')[WORKERS - 1]} worker processes",
        f"Python {'.'.join(map(str, (3, 11)))} or later",
        f"ends {NUMBERS[_MOST_RESTARTS + 1]} times within {NUMBERS[_WITHIN_SECONDS // 60]} minutes ends",
        f"{len(demo_faults(World(DEMO_ASSETS)).unknown)} others stay unknown on purpose",
        f"{DEMO_ASSETS:,} CMMS assets take {NUMBERS[round(DEMO_ASSETS / RATE_PER_SECOND / 60)]} minutes at",
        f"The limit is {RATE_PER_SECOND:.0f} request starts a second",
        f"{DEMO_ASSETS:,} assets refreshed once a day ({math.ceil(DEMO_ASSETS / BATCH_SIZE)} runs)",
        f"A million assets within 24 hours need {1e6 / DAY_SECONDS:.1f} starts a second",
        f"`INNOMAINT_RATE_MS` ({1000 / (1e6 / DAY_SECONDS):.0f} for {1e6 / DAY_SECONDS:.1f} a second)",
    ],
)
def test_a_number_in_the_text_is_that_of_the_code(fragment):
    assert fragment in PROSE


def test_how_long_a_round_takes_at_the_limit_of_the_api_is_computed():
    units = {"min": 60, "h": 3600}
    rows = table("What the API's limit allows", "assets")
    assert len(rows) > 3
    for assets, takes, _ in rows:
        figure, unit = takes.split()
        seconds = int(assets.replace(",", "")) / RATE_PER_SECOND
        assert figure == f"{seconds / units[unit]:.1f}".removesuffix(".0"), assets


def test_what_a_batch_takes_and_how_many_there_are_at_a_million_is_computed():
    rows = table("Dagster: partitions, events, the daemon, and the batch size", "batch size")
    for size, partitions, takes, runs, _ in rows:
        members = int(size.split()[0].replace(",", ""))
        assert partitions == f"{1_000_000 // members:,}"
        assert takes == f"{members / RATE_PER_SECOND:.0f} s"
        assert runs == f"{DAY_SECONDS * RATE_PER_SECOND / members:,.0f}"


# Tables


def test_every_table_is_in_the_tables_section_and_none_besides():
    documented = [code(row[0])[0] for row in table("Tables", "table")]
    assert len(documented) == len(set(documented))
    assert set(documented) == set(metadata.tables)


def test_every_column_that_the_text_names_exists():
    named = {tuple(text.split(".")) for text in code(PROSE) if re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", text)}
    columns = {(table_name, column) for table_name, column in named if table_name in metadata.tables}
    assert len(columns) >= 15
    assert {
        (name, column) for name, column in columns if column not in metadata.tables[name].columns
    } == set()
    unknown = {name for name, _ in named - columns if re.match(r"(ic3|innomaint|cmms)_", name)}
    assert unknown == set()


@dataclass(frozen=True)
class DagsterNames:
    assets: set[str]
    checks: set[tuple[str, str]]
    jobs: set[str]
    automations: set[str]
    partitions: str
    step_waits_seconds: tuple[int, ...]


@pytest.fixture
def dagster_names() -> DagsterNames:
    # Imported in a test, where the marked warning of Dagster's own code is let through.
    from innomaint_pipeline.definitions import defs  # noqa: PLC0415
    from innomaint_pipeline.defs.failures import _RETRY_WAITS_SECONDS  # noqa: PLC0415
    from innomaint_pipeline.defs.innomaint.partitions import BATCHES  # noqa: PLC0415

    graph = defs.resolve_asset_graph()
    return DagsterNames(
        assets={key.to_user_string() for key in graph.get_all_asset_keys()},
        checks={(key.name, key.asset_key.to_user_string()) for key in graph.asset_check_keys},
        jobs={job.name for job in defs.jobs or ()},
        automations={item.name for item in (*(defs.sensors or ()), *(defs.schedules or ()))},
        partitions=str(BATCHES.name),
        step_waits_seconds=_RETRY_WAITS_SECONDS,
    )


def test_everything_that_dagster_shows_is_named(dagster_names):
    (flow,) = [block for block in code_blocks("") if block.startswith("workbook (")]
    of_flow = {name for name in dagster_names.assets if not name.startswith(("customers/", "maximo/"))}
    assert of_flow == set(re.findall(r"\b(?:ic3|innomaint|cmms)_\w+", flow))
    assert dagster_names.partitions in code(section("How it works"))
    title = "What Dagster runs by itself"
    running = {code(row[0])[0] for row in table(title, "name")}
    assert running == dagster_names.jobs | dagster_names.automations
    lines = [row for row in section(title).split("\n") if re.match(r"\| `\w+` \| `[\w/` ]+ \| ", row)]
    checked = {(code(row[0])[0], asset) for row in map(cells, lines) for asset in code(row[1])}
    assert checked == dagster_names.checks


def test_the_waits_between_repetitions_of_a_step_are_those_of_the_code(dagster_names):
    assert "after {}, {} and {} s".format(*dagster_names.step_waits_seconds) in PROSE


def test_nothing_is_named_like_a_table_that_is_none(dagster_names):
    roles = set(re.findall(r"CREATE ROLE (\w+)", TEXT))
    named = set(re.findall(r"\b(?:ic3|innomaint|cmms)_[a-z0-9_]+\b", TEXT)) - roles - {OWNER_IN_AN_EXAMPLE}
    columns = {column.name for item in metadata.tables.values() for column in item.columns}
    projects = {"innomaint_pipeline", "innomaint_pipeline_tests"}
    partitions = dagster_names.partitions
    of_account = {
        accounts.database_name(ACCOUNT_IN_EXAMPLES),
        accounts.location_name(ACCOUNT_IN_EXAMPLES),
        f"{partitions}_{ACCOUNT_IN_EXAMPLES}",
    }
    known = {*metadata.tables, *columns, *dagster_names.assets, *projects, partitions, *of_account}
    assert named - known == set()


def test_every_example_query_runs_on_an_empty_database(database_url):
    queries = [body for name, body in BLOCK.findall(PAGES["docs/tables.md"]) if name == "sql"]
    assert len(queries) >= 3
    for query in queries:
        with psycopg.connect(database_url) as connection:
            connection.execute("set transaction read only")
            found = connection.execute(query.encode())
            assert found.fetchall() == []
            assert found.description
            assert len({column.name for column in found.description}) == len(found.description)


def test_an_example_shows_how_to_query_the_fields_without_a_column():
    assert any("jsonb_each(api_attributes)" in query for query in code_blocks("sql"))


# Files


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_make_target_is_in_the_table_and_none_besides():
    documented = {code(row[0])[0].removeprefix("make ") for row in table("Make targets", "target")}
    assert documented == make_targets()


def test_every_make_target_that_the_text_uses_exists():
    used = {
        found for text in [*code(PROSE), *code_blocks("sh")] for found in re.findall(r"\bmake ([a-z]+)", text)
    }
    assert {"demo", "up"} <= used <= make_targets()


def places() -> list[str]:
    return [path for row in table("Changing the code", "change") for path in code(row[1])]


def test_every_place_where_a_change_goes_exists():
    paths = [path for path in places() if not path.startswith(("make ", "innomaint "))]
    assert len(paths) > 20
    assert [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_every_file_that_the_text_names_exists():
    named = {text for text in code(PROSE) if re.fullmatch(r"[\w.-]+(/[\w.-]+)+(\.py|\.yaml|\.md|run)", text)}
    assert len(named) > 10
    assert {path for path in named if not (PACKAGE / path).exists() and not (ROOT / path).exists()} == set()


def test_the_listing_of_the_layers_is_the_package():
    (listing,) = [block for block in code_blocks("") if block.startswith("innomaint_pipeline/\n")]
    names = re.findall(r"^  ([\w.]+/?) {2,}\S", listing, re.MULTILINE)
    assert len(names) == len(listing.splitlines()) - 1
    assert sorted(names) == sorted(
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if path.name not in {"__init__.py", "__pycache__"}
    )


def test_the_arrows_are_those_of_the_package():
    assert innomaint_pipeline.__doc__
    arrows = [line.strip() for line in innomaint_pipeline.__doc__.splitlines() if " <- " in line]
    assert arrows
    assert "\n".join(arrows) in README


def test_the_data_dictionary_is_that_of_the_code():
    assert build_dictionary() in PAGES["docs/tables.md"], "run make dictionary"


def anchors_of(page: str) -> set[str]:
    return {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name):
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(PAGES[target.relative_to(ROOT).as_posix()]), link


def test_the_readme_leads_to_every_page_shows_the_page_and_is_short():
    links = set(re.findall(r"\]\(([^)]+)\)", README))
    assert PAGES.keys() - links == {"README.md"}
    before_the_first_section, _, _ = README.partition("\n## ")
    assert "](docs/sync-page.png)" in before_the_first_section
    assert len(README.splitlines()) <= LONGEST_README_LINES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_no_path_of_a_machine_and_no_package_index(name):
    text = PAGES[name]
    for path in INSTALLED:
        text = text.replace(path, "")
    paths = re.findall(r"(?:^|[\s`\"'=(])(?:/(?:home|root|work|tmp|Users|opt|srv|mnt)\b|[A-Z]:\\)\S*", text)
    assert paths == []
    assert set(re.findall(r"https?://([\w.-]+(?::\d+)?)", text)) <= ALLOWED_HOSTS
    assert not re.search(r"pypi|pythonhosted|--(?:extra-)?index-url|artifactory|nexus", text, re.IGNORECASE)


@pytest.mark.parametrize("name", PAGES)
def test_no_line_is_wider_than_120_characters_but_those_of_tables(name):
    lines = PAGES[name].splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def python_files() -> list[Path]:
    folders = ("innomaint_pipeline", "innomaint_pipeline_tests", "benchmarks", "tools")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_code_refers_to_pages_that_are_here():
    referred = {
        path: set(re.findall(r"\bdocs/[\w-]+\.md\b", path.read_text("utf-8"))) for path in python_files()
    }
    assert set().union(*referred.values())
    assert {str(path): pages - PAGES.keys() for path, pages in referred.items() if pages - PAGES.keys()} == {}


def test_the_code_refers_to_no_document_by_a_number():
    found = [
        str(path)
        for path in python_files()
        if re.search(r"\bspec \d", path.read_text("utf-8"), re.IGNORECASE)
    ]
    assert found == []
