"""Writing parsed roots with their children: set-based, in the caller's transaction, a bad root refused alone.

Belongs here: statements over the tables of the structures, built from their declaration. No structure is
named here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    TextClause,
    and_,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain.maximo.rows import ParsedRow, Unit, find_placeholders
from innomaint_pipeline.domain.maximo.rows import Place as Attribute
from innomaint_pipeline.domain.maximo.structures import Growth, Kind, Node, Structure, TableSpec
from innomaint_pipeline.store.maximo.tables import (
    DELETED,
    OUT_OF_SCOPE,
    PLACEHOLDER,
    SYNCED,
    TABLES,
    root_table,
)
from innomaint_pipeline.store.rows import (
    group_by_columns,
    left_out,
    prepared,
    recordset,
    refuse_left_out,
    rows_parameter,
    write_within,
)

_PARKED = "\x01parked "
"""Begins the key of a row whose key another row has taken, until its own new one is written."""


_KEPT_EXTRA = """nullif(
    coalesce(excluded."_extra", jsonb_build_object()) || (
        SELECT coalesce(jsonb_object_agg(key, value), jsonb_build_object())
        FROM jsonb_each(coalesce("{table}"."_extra", jsonb_build_object()))
        WHERE key = ANY(CAST(:kept_extra AS text[]))
    ), jsonb_build_object())"""


@dataclass
class MergeCounts:
    """What became of roots; `refused` are those that the database refuses, with its words.

    `stored` are those that were refused before and are not now.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    out_of_scope: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)


@dataclass
class Merge:
    """One merge of a structure; `kept` are attributes and children whose stored values stay.

    `rejected` are the roots of open rejects. `is_rebuild`: from stored answers, which do not tell that a root
    was deleted since.
    """

    connection: Connection
    structure: Structure
    run_id: str
    kept: Collection[Attribute] = frozenset()
    rejected: Collection[int] = frozenset()
    is_rebuild: bool = False
    counts: MergeCounts = field(default_factory=MergeCounts)
    named: dict[str, dict[str, bool]] = field(default_factory=dict)
    _has_taken: bool = False

    def write(self, units: Sequence[tuple[Unit, bool]]) -> None:
        """Write roots, each with whether it is in scope, all of a root or nothing of it.

        A root that the database refuses, or of which it leaves out a row in silence, stands in
        `counts.refused`. What it says against each is everybody's trouble and raised as `DatabaseError`.
        """
        if not units:
            return
        given = {unit.id: (unit, is_in) for unit, is_in in units}
        became: dict[int, str] = {}

        def write_part(ids: Sequence[int]) -> Collection[int]:
            became.update(self._write([given[identifier] for identifier in ids]))
            return ()

        refused = write_within(self.connection, list(given), write_part, has_taken=self._has_taken)
        self._has_taken = self._has_taken or len(refused) < len(given)
        self.counts.refused |= refused
        for word in (word for identifier, word in became.items() if identifier not in refused):
            setattr(self.counts, word, getattr(self.counts, word) + 1)
        self.counts.stored += [
            identifier for identifier in given if identifier in self.rejected and identifier not in refused
        ]

    def _write(self, units: Sequence[tuple[Unit, bool]]) -> dict[int, str]:
        """Write roots; return what became of each, as `MergeCounts` calls it."""
        root = root_table(self.structure)
        ids = [unit.id for unit, _ in units]
        held = dict(
            self.connection.execute(
                select(root.c[self.structure.id], root.c["_sync_status"]).where(
                    root.c[self.structure.id] == func.any(ids)
                )
            )
            .tuples()
            .all()
        )
        if self.is_rebuild:
            units = [(unit, is_in) for unit, is_in in units if held.get(unit.id) != DELETED]
        # What is out of scope and was never held is not stored.
        wanted = [(unit, is_in) for unit, is_in in units if is_in or unit.id in held]
        inside = [unit for unit, is_in in wanted if is_in]
        self._write_shared(inside)
        touched: set[int] = set()
        for spec in self.structure.tables():
            nodes = [node for _, node in self.structure.nodes() if node.table is spec]
            if nodes[0].growth is Growth.SHARED:
                continue
            if nodes[0] is self.structure.root:
                statuses = {unit.id: SYNCED if is_in else OUT_OF_SCOPE for unit, is_in in wanted}
                rows = {unit.id: [unit.root] for unit, _ in wanted}
            else:
                statuses = {}
                rows = {unit.id: [row for row in unit.rows if row.node.table is spec] for unit in inside}
            touched |= self._write_table(spec, rows, statuses)
        touched |= self._delete_missing(inside)
        became: dict[int, str] = {}
        for unit, is_in in wanted:
            if not is_in and held[unit.id] != OUT_OF_SCOPE:
                became[unit.id] = "out_of_scope"
            elif unit.id not in held:
                became[unit.id] = "inserted"
            else:
                became[unit.id] = "updated" if unit.id in touched else "unchanged"
        return became

    def _write_shared(self, units: Sequence[Unit]) -> None:
        for _, node in self.structure.nodes():
            if node.growth is not Growth.SHARED:
                continue
            rows = {unit.id: [row for row in unit.rows if row.node is node] for unit in units}
            self._write_table(node.table, rows, {})
            named = self.named.setdefault(node.table.name, {})
            for unit in units:
                for name, is_brought in find_placeholders(unit).items():
                    named[name] = named.get(name, False) or is_brought
            missing = sorted(name for name, is_brought in named.items() if not is_brought)
            key = node.table.key[0]
            self.connection.execute(
                text(f"""
                    INSERT INTO maximo."{node.table.name}" ("{key}", "_sync_status", "_sync_run_id")
                    SELECT name, :status, :run FROM unnest(CAST(:names AS text[])) AS name
                    ON CONFLICT ("{key}") DO NOTHING
                """),  # noqa: S608 # names from the declarations
                {"status": PLACEHOLDER, "run": self.run_id, "names": missing},
            )

    def _write_table(
        self, spec: TableSpec, rows: Mapping[int, Sequence[ParsedRow]], statuses: Mapping[int, str]
    ) -> set[int]:
        """Write rows of one table, by the id of their roots; return the roots of which one was written."""
        table = TABLES[spec.name]
        owners: dict[tuple[Any, ...], set[int]] = defaultdict(set)
        values: dict[tuple[Any, ...], dict[str, Any]] = {}
        for identifier, items in rows.items():
            for row in items:
                key = tuple(row.columns.get(name) for name in spec.identity)
                owners[key].add(identifier)
                values[key] = {
                    **row.columns,
                    "_rowstamp": row.rowstamp,
                    "_extra": row.extra or None,
                    "_row_hash": row.row_hash,
                    "_sync_status": statuses.get(identifier, SYNCED),
                }
        if not values:
            return set()
        if spec.movable:
            self._make_room(table, spec, list(values.values()))
        touched: set[int] = set()
        kept_extra = self._kept_extra(spec)
        for columns, group in group_by_columns(values.values()).items():
            statement = _upsert(table, spec.identity, columns, keeps_extra=bool(kept_extra))
            parameters: dict[str, Any] = {"rows": rows_parameter(group), "run_id": self.run_id}
            if kept_extra:
                parameters["kept_extra"] = kept_extra
            written = self.connection.execute(statement, parameters).all()
            told = (*spec.identity, "_row_hash", "_sync_status")
            asked = [{name: row[name] for name in told} for row in group]
            refuse_left_out(self.connection, table, spec.identity, asked, written)
            for found in written:
                touched |= owners[tuple(found)]
        return touched

    def _kept_extra(self, spec: TableSpec) -> list[str]:
        """Return the attributes without a column whose stored values stay."""
        paths = {path for path, node in self.structure.nodes() if node.table is spec}
        columns = {item.column for item in spec.attributes}
        return sorted(name for path, name in self.kept if path in paths and name not in {"", *columns})

    def _make_room(self, table: Table, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
        """Set aside the rows that are called what another is called from now on.

        A row that moves gets its own new name later in the same merge; one that does not is gone, since its
        name belongs to another.
        """
        words = next((name for name in spec.movable if spec.kind_of(name) is Kind.TEXT), None)
        names = (*spec.identity, *spec.movable)
        given = recordset(table, names)
        is_same_name = [table.c[name] == given.c[name] for name in spec.movable]
        is_other = or_(*(table.c[name] != given.c[name] for name in spec.identity))
        if words is None:
            change: dict[str, Any] = dict.fromkeys(spec.movable)
        else:
            identity = func.concat_ws("/", *(table.c[name] for name in spec.identity))
            change = {words: func.concat(_PARKED, identity)}
        statement = table.update().values(**change).where(*is_same_name, is_other)
        picked = [{name: row.get(name) for name in names} for row in rows]
        self.connection.execute(statement, {"rows": rows_parameter(picked)})

    def _delete_missing(self, units: Sequence[Unit]) -> set[int]:
        touched: set[int] = set()
        for path, node, parent_path in _with_parents(self.structure.root, "", None):
            if parent_path is None or node.growth is not Growth.SET or (path, "") in self.kept:
                continue
            touched |= self._delete_missing_of(path, node, parent_path, units)
        return touched

    def _delete_missing_of(self, path: str, node: Node, parent_path: str, units: Sequence[Unit]) -> set[int]:
        spec, table = node.table, TABLES[node.table.name]
        ((link, parent_column),) = spec.links.items()
        owners: dict[Any, int] = {}
        given: set[tuple[Any, ...]] = set()
        for unit in units:
            for row in unit.rows:
                if row.path == parent_path and row.columns.get(parent_column) is not None:
                    owners[row.columns[parent_column]] = unit.id
                if row.path == path and row.node is node:
                    given.add(tuple(row.columns.get(name) for name in spec.key))
        if not owners:
            return set()
        # Compared here: mostly nothing is missing, and a join with rows that have no statistics is slow.
        held = self.connection.execute(
            select(table.c[link], *(table.c[name] for name in spec.key)).where(
                table.c[link] == func.any(list(owners)),
                *(table.c[name] == value for name, value in node.given.items()),
            )
        )
        missing = [(row[0], tuple(row[1:])) for row in held if tuple(row[1:]) not in given]
        if not missing:
            return set()
        keys = [table.c[name] for name in spec.key]
        gone = table.delete().where(tuple_(*keys).in_([key for _, key in missing])).returning(*keys)
        deleted = {tuple(row) for row in self.connection.execute(gone)}
        for _, key in missing:
            if key not in deleted:
                raise left_out(table, dict(zip(spec.key, key, strict=True)))
        return {owners[parent] for parent, _ in missing}

    def finish(self, *, is_full: bool) -> int:
        """End the merge: drop rows whose name was taken, mark placeholders; return how many there are.

        After a full read a shared row is a placeholder, too, that no object brought although some named it.
        """
        for spec in self.structure.tables():
            words = next((name for name in spec.movable if spec.kind_of(name) is Kind.TEXT), None)
            if words is not None:
                table = TABLES[spec.name]
                self.connection.execute(table.delete().where(table.c[words].startswith(_PARKED)))
        placeholders = 0
        for _, node in self.structure.nodes():
            if node.growth is Growth.SHARED:
                table = TABLES[node.table.name]
                named = self.named.get(node.table.name, {})
                missing = [name for name, is_brought in named.items() if not is_brought]
                if is_full and missing:
                    self.connection.execute(
                        table.update()
                        .values(_sync_status=PLACEHOLDER, _last_sync=func.now(), _sync_run_id=self.run_id)
                        .where(
                            table.c[node.table.key[0]] == func.any(missing),
                            table.c["_sync_status"] != PLACEHOLDER,
                        )
                    )
                placeholders += self.connection.execute(
                    select(func.count()).select_from(table).where(table.c["_sync_status"] == PLACEHOLDER)
                ).scalar_one()
        return placeholders


def _with_parents(node: Node, path: str, parent: str | None) -> Iterable[tuple[str, Node, str | None]]:
    yield path, node, parent
    for child in node.children:
        yield from _with_parents(child, f"{path}/{child.member}" if path else child.member, path)


@lru_cache(maxsize=256)
def _upsert(
    table: Table, identity: tuple[str, ...], columns: tuple[str, ...], *, keeps_extra: bool
) -> TextClause:
    given = recordset(table, columns)
    values = [name for name in columns if name not in identity]
    statement = insert(table).from_select(
        [*columns, "_first_seen_at", "_last_sync", "_sync_run_id"],
        select(
            *(given.c[name] for name in columns),
            func.now(),
            func.now(),
            literal_column("CAST(:run_id AS text)"),
        ).order_by(*(given.c[name] for name in identity)),
    )
    new = statement.excluded
    extra = {"_extra": literal_column(_KEPT_EXTRA.format(table=table.name))} if keeps_extra else {}
    statement = statement.on_conflict_do_update(
        index_elements=[table.c[name] for name in identity],
        set_={
            **{name: new[name] for name in values},
            **extra,
            "_last_sync": func.now(),
            "_sync_run_id": new["_sync_run_id"],
        },
        where=or_(
            table.c["_row_hash"].is_distinct_from(new["_row_hash"]),
            table.c["_sync_status"].is_distinct_from(new["_sync_status"]),
        ),
    )
    return prepared(statement.returning(*(table.c[name] for name in identity)))


# what a full read no longer finds


def find_unseen(connection: Connection, structure: Structure, site: str | None, seen: str) -> list[int]:
    """Return the ids of synced roots that a full read did not bring; `seen` is a query of those it did."""
    table = root_table(structure)
    at = ' AND "siteid" = :site' if site is not None else ""
    rows = connection.execute(
        text(
            f'SELECT "{structure.id}" FROM maximo."{table.name}" WHERE "_sync_status" = :status{at} '  # noqa: S608
            f'AND "{structure.id}" NOT IN ({seen}) ORDER BY 1'
        ),
        {"status": SYNCED, "endpoint": structure.short, "site": site or ""},
    )
    return list(rows.scalars())


def count_synced(connection: Connection, structure: Structure, site: str | None) -> int:
    """Return how many roots of a site are synced."""
    table = root_table(structure)
    statement = select(func.count()).select_from(table).where(table.c["_sync_status"] == SYNCED)
    if site is not None:
        statement = statement.where(table.c["siteid"] == site)
    return connection.execute(statement).scalar_one()


def mark_deleted(
    connection: Connection, structure: Structure, ids: Sequence[int], *, run_id: str
) -> tuple[int, dict[int, str]]:
    """Mark roots as deleted; their rows stay. Return how many, and whom the database refuses, with why."""
    table = root_table(structure)
    identity = table.c[structure.id]
    marked: set[int] = set()

    def mark(part: Sequence[int]) -> Collection[int]:
        is_other = and_(identity == func.any(list(part)), table.c["_sync_status"] != DELETED)
        values = {"_sync_status": DELETED, "_last_sync": func.now(), "_sync_run_id": run_id}
        changed = connection.execute(table.update().values(**values).where(is_other).returning(identity))
        marked.update(changed.scalars())
        return list(connection.execute(select(identity).where(is_other)).scalars())

    refused = write_within(connection, ids, mark)
    return len(marked - refused.keys()), refused


def count_holders(
    connection: Connection, structure: Structure, site: str | None, node: Node, columns: Sequence[str]
) -> tuple[int, dict[str, int]]:
    """Return how many rows a node has at a site, and how many hold each of these columns."""
    table, root = TABLES[node.table.name], root_table(structure)
    counted = [func.count(table.c[name]).label(f"c{number}") for number, name in enumerate(columns)]
    statement = select(func.count().label("every"), *counted).select_from(table)
    statement = statement.where(*(table.c[name] == value for name, value in node.given.items()))
    if site is not None and table is root:
        statement = statement.where(table.c["siteid"] == site)
    elif site is not None:
        ((link, parent),) = node.table.links.items()
        inside = select(root.c[parent]).where(root.c["siteid"] == site)
        statement = statement.where(table.c[link].in_(inside))
    row = connection.execute(statement).one()
    return row[0], dict(zip(columns, row[1:], strict=True))


def count_extra_holders(connection: Connection, node: Node, name: str) -> int:
    """Return how many rows of a node's table hold an attribute that has no column."""
    table = TABLES[node.table.name]
    extra = table.c["_extra"]
    return connection.execute(select(func.count()).select_from(table).where(extra.has_key(name))).scalar_one()
