"""An invented Maximo: persons, locations, assets, domains, inventory and work orders, from a seed.

Belongs here: what the simulated server holds, and changing it. Rows are as the server keeps them; what of
them is sent is `query` and `app`.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.maximo.query import LOCAL

Row = dict[str, Any]

IDS = {
    "mxapidomain": "maxdomainid",
    "mxapiperuser": "personuid",
    "mxapilocations": "locationsid",
    "mxapiasset": "assetuid",
    "mxapiinventory": "inventoryid",
    "mxapiwodetail": "workorderid",
}
STATUS_DOMAINS = {
    "mxapiperuser": "PERSONSTATUS",
    "mxapilocations": "LOCASSETSTATUS",
    "mxapiasset": "LOCASSETSTATUS",
    "mxapiinventory": "ITEMSTATUS",
    "mxapiwodetail": "WOSTATUS",
}
# Installations rename the words: the internal value stays.
WORDS = {
    "PERSONSTATUS": {"ACTIVE": ("ACTIVE",), "INACTIVE": ("INACTIVE",)},
    "LOCASSETSTATUS": {
        "OPERATING": ("IN BETRIEB", "OPERATING"),
        "DECOMMISSIONED": ("STILLGELEGT",),
        "NOT READY": ("NOT READY",),
    },
    "ITEMSTATUS": {"ACTIVE": ("ACTIVE",), "OBSOLETE": ("OBSOLETE",)},
    "WOSTATUS": {
        "APPR": ("APPR",),
        "INPRG": ("INPRG",),
        "ASSIGN": ("ASSIGN",),
        "WMATL": ("WMATL",),
        "COMP": ("COMP",),
        "CLOSE": ("CLOSE", "FERTIG"),
        "CAN": ("CAN",),
    },
}
CANARY_EMAIL = "canary-person@example.invalid"
CANARY_SECRET = "canary-token-of-a-person"  # noqa: S105 # invented, to be found wherever it appears

_FIRST_PERSONS, _USERS, _MEMBERSHIPS, _GROUPS, _SITES = 500, 498, 3448, 176, 477
_ROWSTAMP = 2**33
_BEGIN = datetime(2026, 6, 1, 8, tzinfo=LOCAL)


class World:
    """What the server holds, by structure and id.

    `persons` of them active; `assets` and `work_orders` replace the numbers of the two sites.
    """

    def __init__(self, seed: int = 1, *, persons: int = 5095, assets: int = 1770, domains: int = 949) -> None:
        self.seed = seed
        self._dice = build_dice(seed, "maximo")
        self._stamp = _ROWSTAMP
        self.rows: dict[str, dict[int, Row]] = {name: {} for name in IDS}
        self.now: Callable[[], datetime] = lambda: datetime.now(LOCAL)
        self._build_domains(domains)
        self._build_persons(persons)
        self._build_places("KDFAC", 1000, 171, assets)
        # Behind those of the other site, however many it has.
        self._build_places("LCVIRQ", max(90_000, assets + 2000), 40, 60)
        self._build_inventory("KDFAC", 7000, 100)
        self._build_inventory("LCVIRQ", 9000, 12)
        self._build_work_orders("LCVIRQ", 500_000, 120)
        self._build_work_orders("KDFAC", 800_000, 3)

    # changing it

    def add(self, structure: str, row: Row) -> Row:
        """Add a row, which gets a row stamp."""
        row["_rowstamp"] = self._next_stamp()
        row["_id"] = f"X{row[IDS[structure]]}"
        row["href"] = f"https://maximo-internal.example/maximo/oslc/os/{structure}/_{row[IDS[structure]]}"
        self.rows[structure][row[IDS[structure]]] = row
        return row

    def change(self, structure: str, identifier: int, **values: Any) -> Row:
        """Change a row: its row stamp grows, and its changedate is now."""
        row = self.rows[structure][identifier]
        row.update(values)
        row["_rowstamp"] = self._next_stamp()
        if "changedate" in row and "changedate" not in values:
            row["changedate"] = self.now().isoformat(timespec="seconds")
        return row

    def remove(self, structure: str, identifier: int) -> Row:
        """Delete a row; a delta does not tell of it."""
        return self.rows[structure].pop(identifier)

    def restore_backup(self, stamps: int) -> None:
        """Let row stamps start again from lower ones, as after a restored database."""
        self._stamp -= stamps
        for rows in self.rows.values():
            for row in rows.values():
                row["_rowstamp"] = str(max(1, int(row["_rowstamp"]) - stamps))

    def memberships(self) -> Iterator[Row]:
        """Yield every membership of every person."""
        for person in self.rows["mxapiperuser"].values():
            for user in person.get("maxuser", ()):
                yield from user.get("groupuser", ())

    def internal_status(self, structure: str, row: Row) -> str | None:
        """Return the internal value of a row's status."""
        words = WORDS.get(STATUS_DOMAINS.get(structure, ""), {})
        return next((value for value, spoken in words.items() if row.get("status") in spoken), None)

    def _next_stamp(self) -> str:
        self._stamp += 1
        return str(self._stamp)

    def _moment(self, minutes: float) -> str:
        return (_BEGIN + timedelta(minutes=minutes)).isoformat(timespec="seconds")

    # building it

    def _build_domains(self, count: int) -> None:
        values = 13_246 if count == 949 else 12 * count
        special = list(WORDS)
        kinds = ["SYNONYM", "ALN", "NUMERIC", "NUMRANGE", "TABLE", "CROSSOVER"]
        taken = sum(len(spoken) for name in special for spoken in WORDS[name].values())
        plain = [number for number in range(len(special), count) if kinds[number % len(kinds)] in kinds[:4]]
        shares = _split(values - taken, len(plain))
        by_number = dict(zip(plain, shares, strict=True))
        native = 0
        for number in range(count):
            name = special[number] if number < len(special) else f"DOMAIN{number:04d}"
            kind = "SYNONYM" if number < len(special) else kinds[number % len(kinds)]
            row: Row = {
                "maxdomainid": number + 1,
                "domainid": name,
                "description": f"Domain {name}",
                "domaintype": kind,
                "maxtype": {"NUMERIC": "INTEGER", "NUMRANGE": "AMOUNT"}.get(kind, "UPPER"),
                "internal": number % 3,
                "length": 20,
                "scale": 0,
                "nevercache": False,
            }
            if number < len(special):
                items = [(word, value) for value, words in WORDS[name].items() for word in words]
            else:
                items = [(f"V{position}", None) for position in range(by_number.get(number, 0))]
            children = []
            for position, (word, internal) in enumerate(items):
                native += 1
                children.append(_value(kind, native, word, internal, position))
            if children:
                row[_MEMBER_OF[kind]] = children
            if kind in {"TABLE", "CROSSOVER"}:
                row["maxtabledomain"] = [_table_domain(number, kind)]
            if number == len(special):
                row["maxdomvalcond"] = [
                    {"maxdomvalcondid": 1, "valueid": "X", "conditionnum": "1001", "objectname": "ASSET"}
                ]
            self.add("mxapidomain", row)

    def _build_persons(self, active: int) -> None:
        groups = [_group(number) for number in range(1, _GROUPS + 1)]
        first = min(active, _FIRST_PERSONS)
        shares = _split(_MEMBERSHIPS, _USERS)
        membership = 0
        for number in range(1, active + 106):
            is_active = number <= first or (first < number - 105 <= active)
            person: Row = {
                "personuid": number,
                "personid": f"PERSON{number:05d}",
                "displayname": f"Person {number}",
                "firstname": "Invented",
                "lastname": f"Person {number}",
                "status": "ACTIVE" if is_active else "INACTIVE",
                "statusdate": self._moment(number),
                "department": f"D{number % 7}",
                "language": "EN",
                "langcode": "EN",
                "acceptingwfmail": "ALL",
                "loctoservreq": True,
                "locationsite": "KDFAC",
                "primaryemail": CANARY_EMAIL if number == 1 else f"p{number}@example.invalid",
                "primaryphone": "+00 000 0000",
                "timezone": None,
            }
            if is_active and number <= _FIRST_PERSONS:
                count = shares[number - 1] if number <= _USERS else None
            else:
                count = 1 if is_active and number % 3 == 0 else None
            if count is not None:
                memberships = []
                for _ in range(count):
                    membership += 1
                    group = groups[(membership - 1) % len(groups)]
                    memberships.append(
                        {
                            "groupuserid": membership,
                            "userid": f"USER{number:05d}",
                            "groupname": group["groupname"],
                            "pwhintanswer": CANARY_SECRET,
                            "maxgroup": [{key: item for key, item in group.items() if key != "groupname"}],
                        }
                    )
                person["maxuser"] = [self._user(number, memberships)]
            self.add("mxapiperuser", person)

    def _user(self, number: int, memberships: list[Row]) -> Row:
        user = {
            "maxuserid": 20_000 + number,
            "userid": f"USER{number:05d}",
            "personid": f"PERSON{number:05d}",
            "status": "ACTIVE",
            "type": "TYPE 1",
            "defsite": "KDFAC" if number % 2 else "LCVIRQ",
            "password": CANARY_SECRET,
            "pwhintanswer": CANARY_SECRET,
            "querywithsite": True,
            "groupuser": memberships,
        }
        if number % 10 == 0:
            user["insertsite"] = user["defsite"]
        if _SITES < number <= _USERS:
            # Users without any site.
            user["defsite"] = None
            user.pop("insertsite", None)
        return user

    def _build_places(self, site: str, start: int, locations: int, assets: int) -> None:
        for number in range(1, locations + 31):
            word = ("IN BETRIEB", "OPERATING")[number % 2] if number <= locations else "STILLGELEGT"
            self.add(
                "mxapilocations",
                {
                    "locationsid": start + number,
                    "siteid": site,
                    "orgid": "ORG",
                    "location": f"{site}-L{number:04d}",
                    "description": f"Hall {number}",
                    "status": word,
                    "type": "OPERATING",
                    "type_description": "Betrieb",
                    "disabled": False,
                    "isdefault": False,
                    "glaccount": "",
                    "changedate": self._moment(number),
                    "gisparam1": None,
                    "_imagelibref": "https://maximo-internal.example/image/1",
                },
            )
        for number in range(1, assets + 41):
            self.add("mxapiasset", self._asset(site, start, number, locations, is_operating=number <= assets))

    def _asset(self, site: str, start: int, number: int, locations: int, *, is_operating: bool) -> Row:
        identifier = start + number
        row: Row = {
            "assetuid": identifier,
            "assetid": identifier,
            "siteid": site,
            "orgid": "ORG",
            "assetnum": f"A{number:06d}",
            "description": f"Pump {number}",
            "status": ("IN BETRIEB", "OPERATING")[number % 2] if is_operating else "STILLGELEGT",
            "status_description": "In Betrieb",
            "assettype": "FACILITIES",
            "location": f"{site}-L{number % (locations + 5) + 1:04d}",
            "serialnum": f"SN-{identifier}",
            "purchaseprice": 1000.1 + number,
            "totalcost": 0.0000001 if number % 7 == 0 else 12.5,
            "isrunning": True,
            "priority": number % 5,
            "installdate": "2019-03-04T00:00:00+03:00",
            "changedate": self._moment(number),
            "apikey": CANARY_SECRET,
            "customfield": f"C{number % 9}",
        }
        if number % 10 == 1 and number > 1:
            row["parent"] = f"A{number - 1:06d}"
        if number % 5 == 0:
            row["assetmeter"] = [
                {
                    "assetmeterid": identifier * 10,
                    "assetnum": row["assetnum"],
                    "siteid": site,
                    "metername": "RUNHOURS",
                    "lastreading": "1234.50" if number % 2 else "on",
                    "lastreadingdate": row["changedate"],
                    "measureunitid": "HOURS",
                    "active": True,
                }
            ]
        if number % 4 == 0:
            row["assetspec"] = [
                {"assetspecid": identifier * 10, "assetattrid": "POWER", "numvalue": 7.5, "siteid": site}
            ]
        if number % 25 == 0:
            # The documents of a location recur under each of its assets.
            links = [_document(identifier, "ASSET"), _document(1, "LOCATIONS")]
            row["doclinks"] = links
        return row

    def _build_inventory(self, site: str, start: int, count: int) -> None:
        balances, conditions, receipts = (58, 74, 150) if count == 100 else (count, count, count)
        given = zip(_split(balances, count), _split(conditions, count), _split(receipts, count), strict=True)
        native = start * 10
        for number, (of_balance, of_condition, of_receipt) in enumerate(given, start=1):
            identifier = start + number
            item = {"itemnum": f"I{identifier}", "itemsetid": "SET1", "siteid": site, "orgid": "ORG"}
            row: Row = {
                **item,
                "inventoryid": identifier,
                "location": f"{site}-STORE",
                "status": "ACTIVE",
                "category": "STK",
                "issueunit": "EACH",
                "curbaltotal": 10.25,
                "minlevel": 1,
                "item": [{"description": f"Item {identifier}"}],
            }
            native += 1
            row["invcost"] = [{**item, "invcostid": native, "avgcost": 3.1, "lastcost": 3, "controlacc": "1"}]
            row["transfercuritem"] = [{"itemnum": item["itemnum"], "quantity": 0, "curbal": 5}]
            for member, name, share in (
                ("invbalances", "invbalancesid", of_balance),
                ("itemcondition", "itemconditionid", of_condition),
                ("matrectrans", "matrectransid", of_receipt),
                ("matusetrans", "matusetransid", 1 if number % 2 else 0),
            ):
                lines = []
                for _ in range(share):
                    native += 1
                    lines.append(_inventory_line(member, name, native, item, self.now()))
                if lines:
                    row[member] = lines
            self.add("mxapiinventory", row)

    def _build_work_orders(self, site: str, start: int, each: int) -> None:
        statuses = ["APPR", "INPRG", "ASSIGN", "WMATL", "COMP"]
        words = [*(status for status in statuses for _ in range(each)), *("FERTIG", "CLOSE", "CAN") * 12]
        for number, status in enumerate(words, start=1):
            identifier = start + number
            row: Row = {
                "workorderid": identifier,
                "siteid": site,
                "orgid": "ORG",
                "wonum": f"{site[:2]}{number:06d}",
                "description": f"Repair {number}",
                "status": status,
                "worktype": "CM",
                "wopriority": number % 4,
                "historyflag": status in {"FERTIG", "CLOSE", "CAN"},
                "istask": False,
                "location": f"{site}-L{number % 45 + 1:04d}",
                "assetnum": f"A{number % 65 + 1:06d}",
                "reportdate": self._moment(number),
                "changedate": self._moment(number),
                "estlabhrs": 2.5,
                "acttotalcost": 100.10,
                "woserviceaddress": [
                    {
                        "woserviceaddressid": identifier,
                        "wonum": f"{site[:2]}{number:06d}",
                        "siteid": site,
                        "saddresscode": f"S{number % 5}",
                        "city": "Nowhere",
                        "streetaddress": "1 Canary Street",
                    }
                ],
            }
            if number % 6 == 0:
                row["wplabor"] = [
                    {"wplaboruid": identifier, "laborhrs": 2.5, "craft": "ELEC", "wonum": row["wonum"]}
                ]
                row["wpmaterial"] = [
                    {"wpitemid": identifier, "itemnum": "I1", "itemqty": 2, "wonum": row["wonum"]}
                ]
                row["wptool"] = [{"wpitemid": identifier, "itemnum": "T1", "hours": 1, "wonum": row["wonum"]}]
            if number % 6 == 1 and number > 1:
                # A line booked on a task arrives under the task and under its parent.
                before = self.rows["mxapiwodetail"][identifier - 1]
                row["istask"], row["parent"] = True, before["wonum"]
                lines = [_labor(identifier, row["wonum"])]
                row["labtrans"] = lines
                before["labtrans"] = [dict(item) for item in lines]
                row["matusetrans"] = [
                    {"matusetransid": identifier, "itemnum": "I1", "quantity": -3.5, "refwo": row["wonum"]}
                ]
                row["tooltrans"] = [
                    {"tooltransid": identifier, "itemnum": "T1", "toolhrs": 1.25, "refwo": row["wonum"]}
                ]
            if number % 50 == 0:
                row["failurereport"] = [
                    {
                        "failurereportid": identifier,
                        "assetnum": row["assetnum"],
                        "type": "PROBLEM",
                        "failurecode": "LEAK",
                        "linenum": 1,
                    }
                ]
            self.add("mxapiwodetail", row)


_MEMBER_OF = {
    "SYNONYM": "synonymdomain",
    "ALN": "alndomain",
    "NUMERIC": "numericdomain",
    "NUMRANGE": "numrangedomain",
}


def _value(kind: str, native: int, word: str, internal: str | None, position: int) -> Row:
    member = _MEMBER_OF[kind]
    row: Row = {f"{member}id": native, "description": f"Value {position}", "valueid": f"{kind}|{native}"}
    if kind == "SYNONYM":
        row |= {"value": word, "maxvalue": internal or word, "defaults": position == 0}
    elif kind == "ALN":
        row["value"] = word
    elif kind == "NUMERIC":
        row["value"] = position + 0.0
    else:
        row |= {"rangesegment": position + 1, "rangeminimum": position, "rangemaximum": position + 1}
    return row


def _table_domain(number: int, kind: str) -> Row:
    row: Row = {"maxtabledomainid": number, "objectname": "ASSET", "listwhereclause": "1=1"}
    if kind == "CROSSOVER":
        row["crossoverdomain"] = [
            {"crossoverdomainid": number, "sourcefield": "LOCATION", "destfield": "LOCATION", "sequence": 1}
        ]
    return row


def _group(number: int) -> Row:
    return {
        "maxgroupid": number,
        "groupname": f"GROUP{number:03d}",
        "description": f"Group {number}",
        "authallsites": number % 2 == 0,
        "independent": False,
        "passwordduration": 90,
    }


def _document(owner: int, table: str) -> Row:
    return {
        "href": f"https://maximo-internal.example/doclinks/{owner}",
        "describedBy": {
            "identifier": str(owner),
            "docinfoid": owner,
            "title": "Manual",
            "fileName": "manual.pdf",
            "docType": "Attachments",
            "ownerTable": table,
            "ownerId": owner,
            "about": "https://maximo-internal.example/about",
        },
    }


def _inventory_line(member: str, name: str, native: int, item: Row, now: datetime) -> Row:
    row = {**item, name: native}
    if member == "invbalances":
        return {**row, "binnum": f"B{native}", "curbal": 4.75}
    if member == "itemcondition":
        return {**row, "conditioncode": "NEW", "condrate": 100}
    moment = (now - timedelta(days=30 + native % 50)).isoformat(timespec="seconds")
    quantity = -1 if member == "matusetrans" else 5
    return {**row, "quantity": quantity, "unitcost": 1.5, "transdate": moment, "issuetype": "ISSUE"}


def _labor(identifier: int, wonum: str) -> Row:
    return {
        "labtransid": identifier,
        "refwo": wonum,
        "laborcode": "L1",
        "regularhrs": 1.5,
        "startdate": "2026-06-02T00:00:00+03:00",
        "finishdate": "2026-06-02T00:00:00+03:00",
        "starttime": "1970-01-01T08:20:00+03:00",
        "finishtime": "1970-01-01T09:50:00+03:00",
    }


def _split(total: int, parts: int) -> list[int]:
    """Return a total as nearly equal whole shares."""
    return [total // parts + (number < total % parts) for number in range(parts)]
