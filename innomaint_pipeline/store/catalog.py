"""What a database holds under the names of our tables, as PostgreSQL's own catalogue tells it.

Belongs here: reading, in a few queries for all tables together. What it means for the upgrade is judged by
`store.objections`, what is missing is added by `store.adoption`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, text

TYPE = "c"
"""The kind of an enum, domain or range among the relations of a `Catalog`."""


@dataclass(frozen=True)
class FoundColumn:
    """A column; of a domain, `base_type`, `modifier` and `is_required` are those of what it is made of.

    `base_type` is the catalogue's short name (int4, varchar), `shown_type` what people write. `modifier` is
    PostgreSQL's: -1 where a type has no limit. `identity` is a (always), d (by default) or empty, `generated`
    s (stored), v (virtual) or empty.
    """

    name: str
    shown_type: str
    base_type: str
    modifier: int
    domain: str | None
    is_enum: bool
    is_required: bool
    is_domain_required: bool
    default: str | None
    identity: str
    generated: str
    is_deterministic: bool
    comment: str | None
    views: tuple[str, ...]

    @property
    def length(self) -> int | None:
        """The most characters that it holds, None where any number."""
        return self.modifier - 4 if self.base_type in {"varchar", "bpchar"} and self.modifier > 4 else None

    @property
    def scale(self) -> int | None:
        """The decimal places of a numeric, None where any number."""
        if self.base_type != "numeric" or self.modifier < 0:
            return None
        places = (self.modifier - 4) & 0x7FF
        return places - 0x800 if places >= 0x400 else places

    @property
    def is_filled(self) -> bool:
        """Whether a row gets a value that gives none."""
        return self.default is not None or bool(self.identity) or bool(self.generated)


@dataclass(frozen=True)
class FoundKey:
    """A unique index or exclusion; `columns` are its plain ones, `has_expressions` tells of others."""

    name: str
    columns: frozenset[str]
    constraint: str | None
    is_primary: bool
    is_deferrable: bool
    is_partial: bool
    is_valid: bool
    is_exclusion: bool
    has_expressions: bool

    @property
    def is_usable(self) -> bool:
        """Whether ON CONFLICT and a foreign key can rely on it for every row."""
        return self.is_valid and not (
            self.is_deferrable or self.is_partial or self.is_exclusion or self.has_expressions
        )


@dataclass(frozen=True)
class FoundReference:
    """A foreign key; names of tables are as they must be written in a statement."""

    name: str
    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True)
class FoundTable:
    """A relation of the current schema; `kind` is the catalogue's letter, r for a plain table."""

    name: str
    kind: str
    owner: str
    comment: str | None
    is_owned: bool
    is_readable: bool
    is_partition: bool
    is_row_security_active: bool
    columns: Mapping[str, FoundColumn] = field(default_factory=dict)
    keys: tuple[FoundKey, ...] = ()
    index_columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    checks: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    references: tuple[FoundReference, ...] = ()
    referenced_by: tuple[FoundReference, ...] = ()
    rules: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """The tables found by name, and every name of the current schema that a new relation cannot take."""

    tables: Mapping[str, FoundTable]
    relations: Mapping[str, str]
    functions: frozenset[str]
    elsewhere: Mapping[str, str]
    database: str
    role: str
    schema: str


_RELATIONS = text(
    """
    select c.oid, c.relname as name, c.relkind::text as kind, r.rolname as owner,
           obj_description(c.oid, 'pg_class') as comment, pg_has_role(c.relowner, 'USAGE') as is_owned,
           has_table_privilege(c.oid, 'SELECT') as is_readable,
           c.relispartition as is_partition,
           c.relkind in ('r', 'p') and row_security_active(c.oid) as is_row_security_active
    from pg_class c join pg_roles r on r.oid = c.relowner
    where c.relnamespace = to_regnamespace(quote_ident(current_schema()))
    """
)
# A domain may be made of a domain.
_COLUMNS = text(
    """
    with recursive resolved as (
        select a.attrelid, a.attnum, t.oid as type, t.typtype, t.typbasetype, t.typtypmod,
               a.atttypmod as modifier, false as is_required, t.typdefault
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = any(cast(:oids as oid[])) and a.attnum > 0 and not a.attisdropped
        union all
        select r.attrelid, r.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod, r.typtypmod,
               r.is_required or d.typnotnull, coalesce(r.typdefault, t.typdefault)
        from resolved r join pg_type d on d.oid = r.type join pg_type t on t.oid = r.typbasetype
        where r.typtype = 'd'
    )
    select a.attrelid, a.attname as name,
           format_type(a.atttypid, a.atttypmod) as shown_type, t.typname as base_type, r.modifier,
           case when a.atttypid <> r.type then format_type(a.atttypid, null) end as domain,
           r.typtype = 'e' as is_enum, a.attnotnull or r.is_required as is_required,
           r.is_required as is_domain_required,
           coalesce(pg_get_expr(d.adbin, d.adrelid), r.typdefault) as default,
           a.attidentity::text as identity, a.attgenerated::text as generated,
           coalesce(l.collisdeterministic, true) as is_deterministic,
           col_description(a.attrelid, a.attnum) as comment,
           array(select distinct w.ev_class::regclass::text from pg_depend p
                 join pg_rewrite w on w.oid = p.objid
                 where p.classid = 'pg_rewrite'::regclass and p.refclassid = 'pg_class'::regclass
                   and p.refobjid = a.attrelid and p.refobjsubid = a.attnum and w.ev_class <> a.attrelid
           ) as views
    from resolved r
    join pg_attribute a on a.attrelid = r.attrelid and a.attnum = r.attnum
    join pg_type t on t.oid = r.type
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    left join pg_collation l on l.oid = a.attcollation
    where r.typtype <> 'd'
    order by a.attrelid, a.attnum
    """
)
_INDEXES = text(
    """
    select i.indrelid, c.relname as name, i.indisunique, i.indisprimary, i.indisexclusion,
           not i.indimmediate as is_deferrable, i.indisvalid and i.indisready as is_valid,
           i.indpred is not null as is_partial, i.indexprs is not null as has_expressions,
           (select k.conname from pg_constraint k where k.conindid = i.indexrelid
             and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')) as constraint,
           array(select a.attname::text from generate_series(0, i.indnkeyatts - 1) as place
                 left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[place]
                   and a.attnum <> 0 order by place) as columns
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = any(cast(:oids as oid[]))
    order by c.relname
    """
)
_CONSTRAINTS = text(
    """
    select k.conrelid, k.confrelid, k.conname as name, k.contype::text as type,
           k.conrelid::regclass::text as table, k.confrelid::regclass::text as to_table,
           k.confdeltype::text as on_delete,
           case k.contype when 'c' then pg_get_expr(k.conbin, k.conrelid) end as expression,
           array(select a.attname::text from unnest(k.conkey) with ordinality as u(number, place)
                 join pg_attribute a on a.attrelid = k.conrelid and a.attnum = number order by place
           ) as columns,
           array(select a.attname::text from unnest(k.confkey) with ordinality as u(number, place)
                 join pg_attribute a on a.attrelid = k.confrelid and a.attnum = number order by place
           ) as to_columns
    from pg_constraint k
    where k.contype in ('c', 'f') and k.conparentid = 0
      and (k.conrelid = any(cast(:oids as oid[])) or k.confrelid = any(cast(:oids as oid[])))
    order by k.conname
    """
)
_ATTACHED = text(
    """
    select ev_class as relation, 'rules' as sort, rulename::text as name from pg_rewrite
    where ev_class = any(cast(:oids as oid[])) and rulename <> '_RETURN'
    union all
    select tgrelid, 'triggers', tgname::text from pg_trigger
    where tgrelid = any(cast(:oids as oid[])) and not tgisinternal
    union all
    select inhparent, 'children', inhrelid::regclass::text from pg_inherits
    where inhparent = any(cast(:oids as oid[]))
    union all
    select inhrelid, 'parents', inhparent::regclass::text from pg_inherits
    where inhrelid = any(cast(:oids as oid[]))
    order by 2, 3
    """
)
_FUNCTIONS = text(
    """
    select proname::text from pg_proc
    where pronamespace = to_regnamespace(quote_ident(current_schema())) and proname like 'innomaint%'
    """
)
# A table cannot have the name of an enum, a domain or a range: its rows are a type, too.
_TYPES = text(
    """
    select typname::text from pg_type
    where typnamespace = to_regnamespace(quote_ident(current_schema())) and typtype in ('e', 'd', 'r')
    """
)
# Tables of the search path behind the current schema, which a new table would hide; and, while nobody has
# chosen a schema, those of any schema.
_ELSEWHERE = text(
    """
    select c.relname::text as name, n.nspname::text as schema
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relname = any(:names) and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and n.nspname <> current_schema() and n.nspname !~ '^pg_'
      and (n.nspname = any(current_schemas(false))
           or current_setting('search_path') in ('"$user", public', '"$user",public'))
      and not exists (select from pg_class v where v.relnamespace = n.oid
                      and v.relname = 'innomaint_schema_version')
    order by array_position(current_schemas(false), n.nspname) nulls last, n.nspname
    """
)


def simplify_name(name: str) -> str:
    """Return what is left of a name without case and signs: "Asset Id", AssetID and asset_id are alike."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def read_catalog(connection: Connection, names: Collection[str]) -> Catalog:
    """Read everything about the tables of these names in the current schema, and of names like them."""
    relations = connection.execute(_RELATIONS).mappings().all()
    wanted = {simplify_name(name) for name in names}
    alike = [row for row in relations if row["name"] in names or simplify_name(row["name"]) in wanted]
    details = _read_details(connection, [row["oid"] for row in alike])
    elsewhere: dict[str, str] = {}
    for name, schema in connection.execute(_ELSEWHERE, {"names": list(names)}).tuples():
        elsewhere.setdefault(name, schema)
    database, role, schema = connection.execute(
        text("select current_database()::text, current_user::text, current_schema()::text")
    ).one()
    return Catalog(
        tables={
            row["name"]: FoundTable(
                **{name: value for name, value in row.items() if name != "oid"}, **details[row["oid"]]
            )
            for row in alike
        },
        relations={
            **dict.fromkeys(connection.execute(_TYPES).scalars(), TYPE),
            **{row["name"]: row["kind"] for row in relations},
        },
        functions=frozenset(connection.execute(_FUNCTIONS).scalars()),
        elsewhere=elsewhere,
        database=database,
        role=role,
        schema=schema,
    )


def _read_details(connection: Connection, oids: Collection[int]) -> Mapping[int, dict[str, Any]]:
    parameters = {"oids": list(oids)}
    columns: dict[int, dict[str, FoundColumn]] = defaultdict(dict)
    for row in connection.execute(_COLUMNS, parameters).mappings():
        values = {**row, "views": tuple(row["views"])}
        relation = values.pop("attrelid")
        columns[relation][row["name"]] = FoundColumn(**values)
    keys: dict[int, list[FoundKey]] = defaultdict(list)
    index_columns: dict[int, dict[str, tuple[str | None, ...]]] = defaultdict(dict)
    for row in connection.execute(_INDEXES, parameters).mappings():
        index_columns[row["indrelid"]][row["name"]] = tuple(row["columns"])
        if row["indisunique"] or row["indisexclusion"]:
            keys[row["indrelid"]].append(_key(row))
    checks: dict[int, list[tuple[str, str, tuple[str, ...]]]] = defaultdict(list)
    references: dict[int, list[FoundReference]] = defaultdict(list)
    referenced_by: dict[int, list[FoundReference]] = defaultdict(list)
    for row in connection.execute(_CONSTRAINTS, parameters).mappings():
        if row["type"] == "c":
            checks[row["conrelid"]].append((row["name"], row["expression"], tuple(row["columns"])))
            continue
        reference = FoundReference(
            row["name"],
            row["table"],
            tuple(row["columns"]),
            row["to_table"],
            tuple(row["to_columns"]),
            row["on_delete"],
        )
        references[row["conrelid"]].append(reference)
        referenced_by[row["confrelid"]].append(reference)
    attached: dict[tuple[int, str], list[str]] = defaultdict(list)
    for relation, sort, name in connection.execute(_ATTACHED, parameters).tuples():
        attached[relation, sort].append(name)
    return {
        oid: {
            "columns": columns[oid],
            "keys": tuple(keys[oid]),
            "index_columns": index_columns[oid],
            "checks": tuple(checks[oid]),
            "references": tuple(references[oid]),
            "referenced_by": tuple(referenced_by[oid]),
            **{sort: tuple(attached[oid, sort]) for sort in ("rules", "triggers", "children", "parents")},
        }
        for oid in oids
    }


def _key(row: RowMapping) -> FoundKey:
    return FoundKey(
        name=row["name"],
        columns=frozenset(name for name in row["columns"] if name is not None),
        constraint=row["constraint"],
        is_primary=row["indisprimary"],
        is_deferrable=row["is_deferrable"],
        is_partial=row["is_partial"],
        is_valid=row["is_valid"],
        is_exclusion=row["indisexclusion"],
        has_expressions=row["has_expressions"],
    )
