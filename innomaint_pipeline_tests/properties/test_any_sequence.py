"""Any sequence of imports, syncs, faults, changes, waits and kills keeps what must hold and can be healed."""

import csv
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.errors import SelectionError
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.innomaint.due_batches import change_refresh_minutes
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline.sync.workbook.importing import import_master
from innomaint_pipeline_tests.conftest import Pipeline, fix_world
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.properties.conftest import GENERATED
from innomaint_pipeline_tests.properties.interrupted import KilledError, dying_database
from innomaint_pipeline_tests.properties.model import FAULTS, Asset, Content, Model

SIZE = 8
BATCH_SIZE = 3
# What a run of three CMMS assets says to the database, roughly; later kills find it finished.
STATEMENTS = 45
_ACTUAL = """
select cmms_asset_id, batch_key, state, error_class, sync_version, next_due_at <= now() as is_due, is_pending,
    body -> 'response' -> 'data' ->> 'barcode' as barcode,
    body -> 'response' -> 'data' ->> 'in_charge_person' = '90KW' as is_odd
from innomaint_sync_state join ic3_asset_master using (asset_id) left join innomaint_response using (asset_id)
"""
batches = st.integers(1, -(-SIZE // BATCH_SIZE)).map("batch_{:06d}".format)
places = st.integers(0, SIZE - 1)


class AnySequence(RuleBasedStateMachine):
    """One database and one simulated Innomaint, and the model of what must become of them."""

    databases: Any
    server: InnomaintSimulator
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.began = datetime.now(UTC)
        self.url = self.stack.enter_context(self.databases.take())
        self.pipeline = self.open(self.stack.enter_context(dying_database(self.url, after_statements=10**9)))
        self.serials = World(SIZE).serials
        fix_world(self.server, World(SIZE))
        self.server.faults.clear()
        self.model = Model()
        self.faults: dict[str, str] = {}
        self.changes: dict[str, int] = {}
        self.runs = count(1)
        for serial in self.serials:
            self.server.world.change(serial, {"data": {"barcode": "0"}})

    def open(self, database: Any) -> Pipeline:
        return Pipeline(database, self.server, RequestPolicy(retry_base_seconds=0.001, timeout_seconds=60))

    def actual(self) -> dict[str, dict[str, Any]]:
        return {row["cmms_asset_id"]: row for row in self.pipeline.rows(_ACTUAL)}

    @rule(size=st.integers(1, SIZE), name=st.sampled_from(["pump", "valve"]), is_reversed=st.booleans())
    def import_workbook(self, size: int, name: str, is_reversed: bool) -> None:
        """Import some of the CMMS assets, one of them twice, and a row without an id."""
        serials = self.serials[:size][:: -1 if is_reversed else 1]
        path = self.folder / "master.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["Asset ID", "Asset Name"])
            writer.writerows([[serial, name] for serial in (*serials, serials[0], "")])
        report = import_master(self.pipeline.database, path, batch_size=BATCH_SIZE)
        new = [serial for serial in serials if serial not in self.model.assets]
        assert (report.rows, report.rejected, report.inserted) == (size + 2, 2, len(new))
        assert report.missing == len(self.model.assets.keys() - set(serials))
        again = import_master(self.pipeline.database, path, batch_size=BATCH_SIZE)
        assert (again.inserted, again.updated, again.unchanged) == (0, 0, size)
        keys = {row["cmms_asset_id"]: row["batch_key"] for row in self.actual().values()}
        for serial in new:
            self.model.assets[serial] = Asset(keys[serial], **self.given(serial))

    def given(self, serial: str) -> dict[str, Any]:
        """Return what the world holds of a CMMS asset that is not in the master yet."""
        return {"fault": self.faults.get(serial), "changes": self.changes.get(serial, 0)}

    @rule(place=places, name=st.sampled_from(sorted(FAULTS)))
    def break_asset(self, place: int, name: str) -> None:
        serial = self.serials[place]
        self.server.faults.always(serial, FAULTS[name][0])
        self.faults[serial] = name
        if serial in self.model.assets:
            self.model.assets[serial].fault = name

    @rule()
    def heal(self) -> None:
        self.server.faults.clear()
        self.faults.clear()
        for asset in self.model.assets.values():
            asset.fault = None

    @rule(place=places)
    def change_asset(self, place: int) -> None:
        serial = self.serials[place]
        self.changes[serial] = changes = self.changes.get(serial, 0) + 1
        self.server.world.change(serial, {"data": {"barcode": str(changes)}})
        if serial in self.model.assets:
            self.model.assets[serial].changes = changes

    @rule(hours=st.integers(1, 2000))
    def let_the_vendors_clock_run(self, hours: int) -> None:
        moment = self.server.world.now() + timedelta(hours=hours)
        self.server.world.now = lambda: moment

    @rule()
    def let_everything_become_due(self) -> None:
        self.pipeline.execute(
            "update innomaint_sync_state set next_due_at = now() - interval '1 s',"
            " last_success_at = last_success_at - interval '1 day'"
        )
        for asset in self.model.assets.values():
            asset.is_due = True

    @rule(minutes=st.integers(5, 1440))
    def change_the_refresh_interval(self, minutes: int) -> None:
        with self.pipeline.database.begin() as connection:
            change_refresh_minutes(connection, minutes)
        due = self.pipeline.rows(_ACTUAL)
        for row in due:
            asset = self.model.assets[row["cmms_asset_id"]]
            if asset.state[0] != "synced":
                assert row["is_due"] == asset.is_due
            asset.is_due = row["is_due"]

    @rule(batch=batches)
    def sync_what_is_due(self, batch: str) -> None:
        self.sync(batch, Selection())

    @rule(batch=batches)
    def sync_everything(self, batch: str) -> None:
        self.sync(batch, Selection(asked_before=datetime.now(UTC)))

    @rule(batch=batches, data=st.data())
    def sync_some(self, batch: str, data: st.DataObject) -> None:
        members = sorted(self.model.members(batch))
        if members:
            names = data.draw(st.lists(st.sampled_from(members), min_size=1, unique=True))
            self.sync(batch, Selection(tuple(names), datetime.now(UTC)))

    @rule(batch=batches)
    def retry_failed(self, batch: str) -> None:
        names = tuple(name for name, asset in self.model.members(batch).items() if asset.is_retryable)
        if names:
            self.sync(batch, Selection(names, datetime.now(UTC)))

    def sync(self, batch: str, selection: Selection) -> None:
        """Run a batch undisturbed: it must end as the model says, or not begin where it is leased."""
        run = self.pipeline.run(f"run-{next(self.runs)}", batch_key=batch, selection=selection)
        self.server.record.clear()
        if not self.model.members(batch):
            with pytest.raises(SelectionError):
                self.pipeline.sync(run)
            return
        report = self.pipeline.sync(run)
        assert report.is_leased_elsewhere is (batch in self.model.leased)
        if report.is_leased_elsewhere:
            assert len(self.server.record) == 0
            return
        after = self.after_run(batch, selection)
        self.model.assets |= after
        names = selection.cmms_asset_ids or tuple(after)
        assert report.total == len(names)
        assert report.counts.success + report.counts.failed + report.skipped == report.total
        assert {item.cmms_asset_id for item in report.remaining} == {
            name for name, asset in after.items() if asset.is_retryable
        }
        row = self.pipeline.one("select * from cmms_sync_log where run_id = :run", run=run.run_id)
        assert (row["status"], row["total"]) == (report.status, report.total)

    def after_run(self, batch: str, selection: Selection) -> dict[str, Asset]:
        is_everything = selection.asked_before is not None
        return self.model.after_run(batch, selection.cmms_asset_ids, is_everything=is_everything)

    @rule(
        batch=batches,
        statements=st.integers(0, STATEMENTS),
        is_everything=st.booleans(),
        is_expired=st.booleans(),
    )
    def kill_a_run(self, batch: str, statements: int, is_everything: bool, is_expired: bool) -> None:
        """Kill a run anywhere: each CMMS asset is as before or as after, and its lease stays behind."""
        if batch in self.model.leased or not self.model.members(batch):
            return
        selection = Selection(asked_before=datetime.now(UTC)) if is_everything else Selection()
        after = self.after_run(batch, selection)
        with dying_database(self.url, after_statements=statements) as database:
            dying = self.open(database)
            try:
                dying.sync(dying.run(f"run-{next(self.runs)}", batch_key=batch, selection=selection))
            except KilledError:
                self.adopt(batch, after)
                if is_expired:
                    self.let_leases_expire()
            else:
                self.model.assets |= after

    def adopt(self, batch: str, after: dict[str, Asset]) -> None:
        """Take over what a killed run left, of what it may have left."""
        rows = self.actual()
        for name, asset in self.model.members(batch).items():
            row, end = rows[name], after[name]
            state = (row["state"], row["error_class"])
            assert state in (asset.state, end.state), (name, state, asset, end)
            assert row["sync_version"] in (asset.version, end.version)
            if row["sync_version"] != asset.version:
                asset.applied = end.applied
            asset.state, asset.version, asset.is_due = state, row["sync_version"], row["is_due"]
            content: Content = (int(row["barcode"] or 0), bool(row["is_odd"]))
            asset.pending = content if row["is_pending"] else None
        leases = self.pipeline.rows("select resource from innomaint_lease")
        held = {row["resource"] for row in leases}
        keys = {asset.batch for asset in self.model.assets.values()}
        self.model.leased = {key for key in keys if lease_name(key) in held}

    @rule()
    def let_leases_expire(self) -> None:
        self.pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 s'")
        self.model.leased.clear()

    @invariant()
    def what_must_hold_holds(self) -> None:
        expired = self.pipeline.rows("select 1 from innomaint_lease where expires_at < now()")
        check_invariants(self.pipeline.database, datetime.now(UTC), {"expired_leases"} if expired else ())

    @invariant()
    def every_asset_is_as_the_model_says(self) -> None:
        actual = {
            name: (row["batch_key"], (row["state"], row["error_class"]), row["sync_version"], row["is_due"])
            for name, row in self.actual().items()
        }
        assert actual == {
            name: (asset.batch, asset.state, asset.version, asset.is_due)
            for name, asset in self.model.assets.items()
        }

    @invariant()
    def no_run_is_logged_twice_for_one_asset(self) -> None:
        assert not self.pipeline.rows(
            "select serialnumber, run_id from ic3_sync_log where sync_type = 'api_sync'"
            " group by 1, 2 having count(*) > 1"
        )

    def teardown(self) -> None:
        """Whatever happened: one more sync of everything, without faults and leases, heals it."""
        with self.stack:
            self.heal()
            self.let_leases_expire()
            for batch in sorted({asset.batch for asset in self.model.assets.values()}):
                self.sync(batch, Selection(asked_before=datetime.now(UTC)))
            assert {asset.state for asset in self.model.assets.values()} <= {("synced", None)}
            self.every_asset_is_as_the_model_says()
            assert self.pipeline.rows("select * from innomaint_lease") == []
            check_invariants(self.pipeline.database, self.began)


def test_any_sequence_keeps_what_must_hold(
    request: pytest.FixtureRequest, simulator: InnomaintSimulator, tmp_path: Path
) -> None:
    databases = request.getfixturevalue("_upgraded_databases")
    machine = type(
        "Bound",
        (AnySequence,),
        {"databases": databases, "server": simulator, "folder": tmp_path},
    )
    run_state_machine_as_test(machine, settings=settings(GENERATED, max_examples=10, stateful_step_count=25))
