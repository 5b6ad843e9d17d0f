"""What the simulated Maximo finds for a query of one object structure: rows matched, ordered, paged, sent.

As strict as the server: parameters that it does not know are ignored in silence, so that a wrong one shows in
the counts. What of it a server of another version or configuration does differently is in `faults.Behaviour`.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.maximo.faults import Behaviour
from innomaint_pipeline.simulator.maximo.query import read_lower_bound, read_select, read_where, select
from innomaint_pipeline.simulator.maximo.world import IDS, World

_NO_CHILD: tuple[tuple[str, Any], ...] = (
    ("assetmeter", []),
    ("assetspec", {}),
    ("doclinks", {"href": "https://maximo-internal.example/doclinks", "member": []}),
)


@dataclass(frozen=True)
class CollectionQuery:
    """A query of an object structure, with the parameters as they arrived."""

    world: World
    behaviour: Behaviour
    name: str
    parameters: dict[str, str]

    @property
    def is_count(self) -> bool:
        """Tell whether the number of rows is asked for alone."""
        return self.parameters.get("count") == "1"

    @property
    def is_too_large(self) -> bool:
        """Tell whether more rows a page are wanted than the server sends."""
        largest = self.behaviour.largest_page
        return largest is not None and self._page_size > largest

    @property
    def _page_size(self) -> int:
        return int(self.parameters.get("oslc.pageSize", "100000"))

    def answer(self, *, shuffle: int) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
        """Return the content and the headers of a page; `shuffle` seeds what comes without an order.

        Raises `QueryError` for a query that the server refuses.
        """
        name, parameters, behaviour = self.name, self.parameters, self.behaviour
        size, lost = self._page_size, behaviour.site_lost
        held = self.world.rows[name].values()
        every = [row for row in held if lost is None or row.get("siteid") != lost]
        is_ordered = (
            parameters.get("oslc.orderBy") in {f"+{IDS[name]}", IDS[name]} and not behaviour.ignores_order
        )
        matching = self._match(every, size if is_ordered else None)
        total = None if behaviour.ignores_count else len(matching)
        if self.is_count and total is not None:
            return {"totalCount": total}, []
        found = sorted(matching, key=lambda row: row[IDS[name]])
        if not is_ordered:
            # Without an order, pages repeat rows and skip others.
            found = build_dice(self.world.seed, name, shuffle).choices(found, k=len(found)) if found else []
        page = found[:size]
        info: dict[str, Any] = {"href": f"{behaviour.next_page_host}/maximo/api/os/{name}"}
        if len(found) > size:
            info["nextPage"] = {"href": f"{behaviour.next_page_host}/maximo/api/os/{name}?pageno=2"}
        if parameters.get("collectioncount") == "1" and total is not None:
            info |= {"totalCount": total, "pagenum": 1}
        selection = read_select(parameters.get("oslc.select", IDS[name]))
        dropped = self._child_filter()
        rows = [self._send(select(row, selection, dropped), row) for row in page]
        headers = []
        if parameters.get("fetchmodedelta") == "1" and not behaviour.ignores_delta:
            stamped = page if behaviour.is_delta_of_page else every
            highest = max((int(row["_rowstamp"]) for row in stamped), default=0)
            headers.append((b"maxrowstamp", str(highest).encode()))
        value: dict[str, Any] = {"member": rows, "href": info["href"], "responseInfo": info}
        if parameters.get("lean") != "1" or behaviour.ignores_lean:
            value = {"rdfs:member": [{f"spi:{key}": item for key, item in row.items()} for row in rows]}
        return value, headers

    def _match(self, rows: list[Any], most: int | None) -> list[Any]:
        """Return the rows that match: all where they are counted or have no order, else `most` and one."""
        if most is None or self.is_count or self.parameters.get("collectioncount") == "1":
            return list(self._find(rows))
        # A site may have a hundred thousand: no more are looked for than are sent.
        identifier = IDS[self.name]
        rows = sorted(rows, key=lambda row: row[identifier])
        behind = read_lower_bound(self.parameters.get("oslc.where", ""), identifier)
        if behind is not None and not self.behaviour.ignores_filter:
            rows = rows[bisect_right(rows, behind, key=lambda row: row[identifier]) :]
        return list(islice(self._find(rows), most + 1))

    def _find(self, rows: Iterable[Any]) -> Iterator[Any]:
        behaviour, parameters = self.behaviour, self.parameters
        where = parameters.get("oslc.where", "")
        if where and not behaviour.ignores_filter:
            if behaviour.ignores_site:
                where = " and ".join(part for part in where.split(" and ") if not part.startswith("siteid"))
            condition = read_where(where, refuses_offsets=behaviour.refuses_offsets)
            rows = filter(condition, rows)
        internal = parameters.get("domaininternalwhere", "")
        if internal and not behaviour.ignores_internal_status:
            rows = filter(lambda row: self._has_internal(row, internal), rows)
        after = parameters.get("lastfetchts", "")
        if parameters.get("fetchmodedelta") == "1" and after.isdecimal() and not behaviour.ignores_delta:
            rows = filter(lambda row: int(row["_rowstamp"]) > int(after), rows)
        return iter(rows)

    def _has_internal(self, row: Any, condition: str) -> bool:
        sign = "!=" if "!=" in condition else "="
        values = condition.partition(sign)[2].split(",")
        return (self.world.internal_status(self.name, row) in values) is (sign == "=")

    def _child_filter(self) -> Callable[[str, Any], bool]:
        prefix = self.name.removeprefix("mxapi")
        conditions = {
            key.removeprefix(f"{prefix}.").removesuffix(".where"): read_where(
                value, refuses_offsets=self.behaviour.refuses_offsets
            )
            for key, value in self.parameters.items()
            if key.startswith(f"{prefix}.") and key.endswith(".where")
        }
        return lambda child, row: child in conditions and not conditions[child](row)

    def _send(self, selected: Any, row: Any) -> Any:
        name, parameters = self.name, self.parameters
        sent = {
            key: value for key, value in selected.items() if value is not None or self.behaviour.sends_nulls
        }
        if parameters.get("internalvalues") == "1" and not self.behaviour.ignores_internal_status:
            internal = self.world.internal_status(name, row)
            if internal is not None and "status" in sent:
                sent["status_maxvalue"] = internal
        if parameters.get("ignorecollectionref") != "1":
            sent["relatedrec_collectionref"] = f"{row['href']}/relatedrec"
        if "doclinks" in sent:
            sent["doclinks"] = {"href": f"{row['href']}/doclinks", "member": sent["doclinks"]}
        if self.behaviour.sends_nulls and name == "mxapiasset":
            # No child, in each of the ways in which a server says so.
            asked = parameters.get("oslc.select", "")
            for place, (child, nothing) in enumerate(_NO_CHILD):
                if f"{child}{{" in asked and row["assetuid"] % len(_NO_CHILD) == place:
                    sent.setdefault(child, nothing)
        return sent
