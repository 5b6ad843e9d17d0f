"""Merging a read: tables, state and the row of the run in one transaction; and building tables anew.

Belongs here: what of a read may be believed: drift, deletions under the guard, the status of the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.maximo.plans import (
    Known,
    largest_harmless_loss,
    new_rowstamps,
    new_watermark,
    next_full_read,
    smallest_drift,
)
from innomaint_pipeline.domain.maximo.privacy import is_personal
from innomaint_pipeline.domain.maximo.questions import Mode, in_scope
from innomaint_pipeline.domain.maximo.rows import Place as Attribute
from innomaint_pipeline.domain.maximo.rows import Unit, parse_root
from innomaint_pipeline.domain.maximo.structures import Cursor, Growth, Node
from innomaint_pipeline.store.database import Connection, find_now
from innomaint_pipeline.store.maximo.merging import (
    Merge,
    count_extra_holders,
    count_holders,
    count_synced,
    mark_deleted,
)
from innomaint_pipeline.store.maximo.responses import iterate_bodies, settle_pending
from innomaint_pipeline.store.maximo.states import (
    NEW,
    TYPE,
    VANISHED,
    add_drift,
    load_known,
    load_rejected,
    load_state,
    load_vanished,
    resolve_drift,
    resolve_rejects,
    resolve_rejects_not_pending,
    save_reject,
    save_run,
    save_state,
)
from innomaint_pipeline.sync.maximo.fetching import booked_reach
from innomaint_pipeline.sync.maximo.reading import MaximoRun, Reading

SUCCESS, PARTIAL, ERROR = "success", "partial", "error"
_RETRY_AFTER = timedelta(minutes=10)

Drift = tuple[str, str, str, str]


@dataclass
class _Tally:
    """What a merge adds up."""

    mistakes: dict[tuple[str, str], str] = field(default_factory=dict)
    deleted: int = 0
    drift: int = 0


def merge(run: MaximoRun, reading: Reading) -> dict[str, Any]:
    """Bring the tables to what a read fetched; return the row of the run. All or nothing.

    Raises `DatabaseError`.
    """
    with run.database.begin() as connection:
        state = load_state(connection, run.place)
        known = load_known(connection, run.place)
        tally = _Tally()
        kept = _judge_drift(connection, run, reading, state, tally)
        rejected = load_rejected(connection, run.place)
        merged = Merge(connection, run.structure, run.run_id, kept, rejected)
        words = None if reading.words is None else tuple(reading.words)
        for bodies in iterate_bodies(connection, run.place, is_pending=True):
            merged.write(_parse(run, bodies, kept, words, tally))
        placeholders = merged.finish(is_full=reading.is_full)
        crash_points.reach("maximo merge: rows written")
        merged.counts.refused |= _judge_deletions(connection, run, reading, tally)
        wrong_rows = {int(identifier): why for identifier, why in reading.wrong.items()}
        if _is_whole(reading):
            # Of what no whole read brings any more, nothing is left to come right.
            resolve_rejects_not_pending(connection, run.place, but=merged.counts.refused | wrong_rows)
        _close_rejects(connection, run, merged, wrong_rows)
        settle_pending(connection, run.place, run.structure)
        crash_points.reach("maximo merge: answers settled")
        wrong = [(path, name, TYPE, f"came as {kind}") for (path, name), kind in tally.mistakes.items()]
        tally.drift += add_drift(connection, run.place, wrong, run_id=run.run_id)
        counts = merged.counts
        refused = len(counts.refused.keys() | wrong_rows)
        status = PARTIAL if reading.faults or refused else SUCCESS
        watermark = _save_state(connection, run, reading, known, state)
        row = save_run(
            connection,
            {
                **_head(run, reading, find_now(connection)),
                "watermark_to": watermark,
                "pages": reading.pages,
                "server_total": reading.total_before if reading.total_after is None else reading.total_after,
                "fetched": reading.fetched,
                "inserted": counts.inserted,
                "updated": counts.updated,
                "unchanged": counts.unchanged,
                "deleted": tally.deleted,
                "out_of_scope": counts.out_of_scope,
                "placeholders": placeholders,
                "rejected": refused,
                "drift": tally.drift,
                "status": status,
                "message": _join([*reading.notes, *_tell_rejects(refused)]),
            },
        )
        crash_points.reach("maximo merge: run row written")
    crash_points.reach("maximo merge: committed")
    return row


def fail(run: MaximoRun, error_class: str, message: str) -> dict[str, Any]:
    """Note that a read ended without a result; the data stay as they are. Return the row of the run."""
    with run.database.begin() as connection:
        state = load_state(connection, run.place)
        stored = state.get("reading")
        now = find_now(connection)
        reading = (
            Reading(**stored)
            if stored
            else Reading(run.run_id, Mode.FULL.value, "", now.isoformat(), now.isoformat(), 0)
        )
        wait = min(_RETRY_AFTER, timedelta(minutes=run.settings.interval_minutes))
        save_state(
            connection,
            run.place,
            state=ERROR,
            error_class=error_class,
            message=message,
            last_run_at=now,
            due_at=now + wait,
        )
        return save_run(
            connection,
            {
                **_head(run, reading, find_now(connection)),
                "pages": reading.pages,
                "server_total": reading.total_before,
                "fetched": reading.fetched,
                "status": ERROR,
                "error_class": error_class,
                "message": message,
            },
        )


def _head(run: MaximoRun, reading: Reading, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "endpoint": run.structure.short,
        "site": run.site,
        "mode": reading.mode,
        "started_at": datetime.fromisoformat(reading.started_at),
        "finished_at": now,
        "watermark_from": reading.watermark_from,
    }


def _parse(
    run: MaximoRun,
    bodies: Iterable[Mapping[str, Any]],
    kept: Collection[Attribute],
    words: tuple[str, ...] | None,
    tally: _Tally,
) -> list[tuple[Unit, bool]]:
    units = []
    for body in bodies:
        unit, mistakes = parse_root(run.structure, body, kept)
        for path, name, kind in mistakes:
            tally.mistakes.setdefault((path, name), kind)
        columns = dict(unit.root.columns)
        is_here = run.site is None or columns.get("siteid") == run.site
        units.append((unit, is_here and in_scope(run.structure, columns, words)))
    return units


def _close_rejects(
    connection: Connection, run: MaximoRun, merged: Merge, wrong: Mapping[int, str] | None = None
) -> None:
    """Resolve what could be stored; list what was refused, and rows `wrong` that lack a value."""
    refused = {**(wrong or {}), **merged.counts.refused}
    stored = [identifier for identifier in merged.counts.stored if identifier not in refused]
    if stored:
        resolve_rejects(connection, run.place, stored)
    for identifier, reason in refused.items():
        save_reject(connection, run.place, identifier, reason, run_id=run.run_id)


def _is_whole(reading: Reading) -> bool:
    """Tell whether a read brought all that is in scope, without anything that speaks against it."""
    return reading.is_full and reading.total_after is not None and not reading.faults


# deletions


def _judge_deletions(
    connection: Connection, run: MaximoRun, reading: Reading, tally: _Tally
) -> dict[int, str]:
    """Mark what nobody answers for as deleted, unless that is suspiciously much.

    Return what the database does not let be marked, with why.
    """
    if not reading.is_full or not reading.deleted:
        return {}
    held = count_synced(connection, run.structure, run.site)
    most = largest_harmless_loss(held, run.settings.max_delete_pct)
    is_much = len(reading.deleted) > most or (reading.fetched == 0 and held > 0)
    if is_much and not reading.accepts_deletes:
        reading.note(
            f"{len(reading.deleted)} of {held} rows are not there any more, more than {most:.0f}: none is "
            "marked deleted; look at Maximo, then apply them with innomaint maximo sync --accept-deletes",
            is_fault=True,
        )
        return {}
    tally.deleted, refused = mark_deleted(connection, run.structure, reading.deleted, run_id=run.run_id)
    return refused


# drift


def _judge_drift(
    connection: Connection, run: MaximoRun, reading: Reading, state: Mapping[str, Any], tally: _Tally
) -> set[Attribute]:
    """List what is new and what has vanished; return whose stored values are kept."""
    known = state["known"]
    attributes, types = reading.seen["attributes"], reading.seen["types"]
    if reading.is_full and reading.accepts_drift:
        resolve_drift(connection, run.place)
    kept = load_vanished(connection, run.place)
    back = {(path, name) for path, name in kept if _is_seen(reading, path, name)}
    resolve_drift(connection, run.place, only=back)
    kept -= back
    if known is not None:
        tally.drift += add_drift(
            connection, run.place, _find_new(run, known, attributes, types), run_id=run.run_id
        )
    may_vanish = reading.is_full and not reading.faults and reading.fetched
    if may_vanish and known is not None and not reading.accepts_drift:
        vanished = _find_vanished(connection, run, reading, known)
        add_drift(connection, run.place, vanished, run_id=run.run_id)
        kept |= {(path, name) for path, name, _, _ in vanished}
    if kept and reading.is_full:
        names = ", ".join(sorted(f"{path}.{name}".strip(".") for path, name in kept))
        reading.note(
            f"no row has {names} any more: the stored values are kept; innomaint maximo sync --accept-drift "
            "clears them",
            is_fault=True,
        )
        tally.drift += len(kept)
    _save_known(connection, run, known, types)
    return kept


def _is_seen(reading: Reading, path: str, name: str) -> bool:
    if not name:
        return bool(reading.seen["objects"].get(path))
    return bool(reading.seen["attributes"].get(path, {}).get(name))


def _columns_of(node: Node) -> set[str]:
    taken = {*node.renamed.values(), *(name for _, name, _ in node.derived)}
    outer = {name.partition(".")[0] for name in taken if "." in name}
    return {item.column for item in node.table.attributes} | taken | outer


def _find_new(
    run: MaximoRun,
    known: Mapping[str, Mapping[str, list[str]]],
    attributes: Mapping[str, Mapping[str, int]],
    types: Mapping[str, Mapping[str, list[str]]],
) -> list[Drift]:
    found: list[Drift] = []
    for path, node in run.structure.nodes():
        # A node of which nothing was ever seen has no attributes that could be new.
        if not node.is_selected or path not in attributes or path not in known:
            continue
        declared = _columns_of(node)
        for name in attributes[path]:
            before, now = known[path].get(name), types[path][name]
            if name in declared:
                continue
            if before is None:
                what = "child" if {"list", "object"} & set(now) else "attribute"
                found.append((path, name, NEW, f"a new {what}, {'/'.join(now)}"))
            elif set(now) - set(before):
                found.append((path, name, TYPE, f"was {'/'.join(before)}, came as {'/'.join(now)}"))
    return found


def _find_vanished(
    connection: Connection,
    run: MaximoRun,
    reading: Reading,
    known: Mapping[str, Mapping[str, list[str]]],
) -> list[Drift]:
    found: list[Drift] = []
    for path, node in run.structure.nodes():
        # Transactions are asked for from a moment on: those that do not come are held all the same.
        if not node.is_selected or node.growth is Growth.APPEND:
            continue
        if path and not reading.seen["objects"].get(path):
            parent = path.rpartition("/")[0]
            has_parents = not parent or reading.seen["objects"].get(parent)
            every, _ = count_holders(connection, run.structure, run.site, node, [])
            if has_parents and not node.is_optional and every >= smallest_drift(reading.fetched):
                found.append((path, "", VANISHED, f"held by {every} rows"))
            continue
        found += _find_vanished_attributes(connection, run, reading, (path, node), known.get(path, {}))
    return found


def _find_vanished_attributes(
    connection: Connection,
    run: MaximoRun,
    reading: Reading,
    place: tuple[str, Node],
    known: Mapping[str, list[str]],
) -> list[Drift]:
    path, node = place
    seen = reading.seen["attributes"].get(path, {})
    sources = dict(node.renamed) | {column: name for column, name, _ in node.derived}
    filled = {*node.given, *node.inherited, node.line_number}
    absent = {
        item.column: sources.get(item.column, item.column)
        for item in node.table.attributes
        if item.column not in filled
        and not item.is_optional
        and (run.settings.keeps_personal_data or not is_personal(item.column))
        and sources.get(item.column, item.column) not in seen
    }
    every, held = count_holders(connection, run.structure, run.site, node, list(absent))
    least = smallest_drift(every)
    found: list[Drift] = [
        (path, column, VANISHED, f"held by {held[column]} of {every} rows")
        for column in absent
        if held[column] >= least
    ]
    declared = _columns_of(node)
    for name in known:
        # What is personal is gone because we take it out.
        is_kept = run.settings.keeps_personal_data or not is_personal(name)
        if name not in seen and name not in declared and is_kept:
            count = count_extra_holders(connection, node, name)
            if count >= least:
                found.append((path, name, VANISHED, f"held by {count} of {every} rows"))
    return found


def _save_known(
    connection: Connection,
    run: MaximoRun,
    known: Mapping[str, Mapping[str, list[str]]] | None,
    types: Mapping[str, Mapping[str, list[str]]],
) -> None:
    merged: dict[str, dict[str, list[str]]] = {
        path: {name: list(kinds) for name, kinds in names.items()} for path, names in (known or {}).items()
    }
    for path, names in types.items():
        for name, kinds in names.items():
            before = merged.setdefault(path, {}).setdefault(name, [])
            before += [kind for kind in kinds if kind not in before]
    save_state(connection, run.place, known=merged)


# state


def _tell_rejects(count: int) -> list[str]:
    return [f"{count} rows do not fit into the database: see maximo.reject"] if count else []


def _join(sentences: Iterable[str]) -> str | None:
    return "; ".join(dict.fromkeys(sentences)) or None


def _save_state(
    connection: Connection, run: MaximoRun, reading: Reading, known: Known, before: Mapping[str, Any]
) -> str | None:
    """Save from where the next read goes on, and return it as text."""
    now, structure, mode = find_now(connection), run.structure, Mode(reading.mode)
    # What a full read found wrong is not right because a later increment saw none of it.
    open_faults: list[str] = reading.faults if mode is Mode.FULL else before["open_faults"] or []
    rejects = _tell_rejects(len(load_rejected(connection, run.place)))
    values: dict[str, Any] = {
        "state": PARTIAL if open_faults or reading.faults or rejects else SUCCESS,
        "error_class": None,
        "message": _join([*reading.notes, *open_faults, *rejects]),
        "open_faults": open_faults,
        "last_sync_at": now,
        "last_run_at": now,
        "due_at": now + timedelta(minutes=run.settings.interval_minutes),
        "date_form": reading.date_form,
        "booked_offset": reading.booked_offset or known.booked_offset,
        "reading": None,
    }
    if mode is Mode.FULL:
        values["server_total"] = reading.total_after
        values["words"] = reading.words
        values["full_due_at"] = next_full_read(structure, now)
    if _is_whole(reading):
        values["last_full_at"] = now
        values["booked_since"] = booked_reach(run, reading, now)
    if reading.restored_on is not None:
        values["restored_on"] = date.fromisoformat(reading.restored_on)
    shown: str | None = None
    if structure.cursor is Cursor.CHANGEDATE:
        first = None if reading.first_page_at is None else datetime.fromisoformat(reading.first_page_at)
        shown = known.watermark
        if reading.closes_gap:
            shown = new_watermark(reading.highest, first_page_at=first, before=shown, mode=mode)
        values["watermark"] = shown
    elif structure.cursor is Cursor.ROWSTAMP:
        stamp = None if reading.has_bad_rowstamp else reading.maxrowstamp
        at = datetime.fromisoformat(reading.first_page_at or reading.started_at)
        stamps = new_rowstamps(known.rowstamps, stamp, at, mode)
        if stamp is None and mode is Mode.FULL:
            stamps = ()
        if reading.has_bad_rowstamp:
            stamps = ()
        values["rowstamps"] = [[number, moment.isoformat()] for number, moment in stamps]
        shown = str(stamps[-1][0]) if stamps else None
    save_state(connection, run.place, **values)
    return shown


def rebuild(run: MaximoRun) -> dict[str, int]:
    """Build the tables anew from the stored answers, without a request; nothing is marked deleted.

    Return how many roots were written, as they were, and refused.
    """
    with run.database.begin() as connection:
        words = load_known(connection, run.place).words
        kept = load_vanished(connection, run.place)
        tally = _Tally()
        rejected = load_rejected(connection, run.place)
        merged = Merge(connection, run.structure, run.run_id, kept, rejected, is_rebuild=True)
        for bodies in iterate_bodies(connection, run.place, is_pending=False):
            merged.write(_parse(run, bodies, kept, words, tally))
        merged.finish(is_full=True)
        _close_rejects(connection, run, merged)
        counts = merged.counts
        return {
            "inserted": counts.inserted,
            "updated": counts.updated,
            "unchanged": counts.unchanged + counts.out_of_scope,
            "rejected": len(counts.refused),
        }
