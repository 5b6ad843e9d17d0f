"""The six object structures, each declared once: what is asked for, its tables, children and keys.

Belongs here: declarations, and the few readers of objects that are no plain list. Tables, requests, parsing,
checks and the data dictionary follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innomaint_pipeline.domain.maximo.meanings import MEANINGS
from innomaint_pipeline.domain.maximo.structures import (
    Attribute,
    Cursor,
    Growth,
    Kind,
    Node,
    StatusScope,
    Structure,
    TableSpec,
    as_list,
)


def _columns(kind: Kind, names: str, **options: bool) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, kind, MEANINGS[name], **options) for name in names.split())


def _text(names: str, **options: bool) -> tuple[Attribute, ...]:
    return _columns(Kind.TEXT, names, **options)


def _integer(names: str, **options: bool) -> tuple[Attribute, ...]:
    return _columns(Kind.INTEGER, names, **options)


def _numeric(names: str) -> tuple[Attribute, ...]:
    return _columns(Kind.NUMERIC, names)


def _boolean(names: str) -> tuple[Attribute, ...]:
    return _columns(Kind.BOOLEAN, names)


def _moment(names: str) -> tuple[Attribute, ...]:
    return _columns(Kind.MOMENT, names)


def _date(names: str) -> tuple[Attribute, ...]:
    return _columns(Kind.DATE, names)


def _clock(names: str) -> tuple[Attribute, ...]:
    return _columns(Kind.CLOCK, names)


_LINE = "PLAN: what was planned, ACTUAL: what was booked"

# domain

DOMAINS = TableSpec(
    "domains",
    "Domains: the lists of values that attributes may have",
    ("domainid",),
    _text("domainid description domaintype maxtype")
    + _integer("maxdomainid internal length scale")
    + _boolean("nevercache"),
    unique=("maxdomainid",),
)
DOMAIN_VALUES = TableSpec(
    "domain_values",
    "Values of domains; a value recurs for each site and internal value",
    ("value_kind", "native_id"),
    (
        Attribute("value_kind", Kind.TEXT, "SYNONYM, ALN, NUMERIC or NUMRANGE"),
        Attribute("native_id", Kind.INTEGER, "the id among the values of its kind"),
        Attribute("value", Kind.TEXT, "the value; numbers without trailing zeros"),
        Attribute("maxvalue", Kind.TEXT, "the internal value that a synonym stands for"),
        Attribute("value_num", Kind.NUMERIC, "the value as a number, of numeric domains"),
        *_text("domainid description orgid siteid valueid"),
        *_boolean("defaults"),
        *_numeric("rangeminimum rangemaximum rangeinterval"),
        *_integer("rangesegment"),
    ),
    parent="domains",
    links={"domainid": "domainid"},
)
DOMAIN_TABLES = TableSpec(
    "domain_tables",
    "Table domains: which object their values come from",
    ("maxtabledomainid",),
    _integer("maxtabledomainid")
    + _text(
        "domainid objectname validtnwhereclause listwhereclause errorresourcbundle errorkey orgid siteid"
    ),
    parent="domains",
    links={"domainid": "domainid"},
)
DOMAIN_CROSSOVERS = TableSpec(
    "domain_crossovers",
    "Crossover domains: which attributes are taken over",
    ("crossoverdomainid",),
    _integer("crossoverdomainid maxtabledomainid sequence")
    + _text("domainid sourcefield destfield objectname orgid siteid")
    + _boolean("copyevenifsrcnull copyonlyifdestnull"),
    parent="domain_tables",
    links={"maxtabledomainid": "maxtabledomainid"},
)
DOMAIN_CONDITIONS = TableSpec(
    "domain_conditions",
    "Conditions under which values of domains are offered",
    ("maxdomvalcondid",),
    _integer("maxdomvalcondid") + _text("domainid valueid conditionnum objectname orgid siteid"),
    parent="domains",
    links={"domainid": "domainid"},
)


def _values(member: str, kind: str, **options: Any) -> Node:
    return Node(
        DOMAIN_VALUES,
        member,
        given={"value_kind": kind},
        renamed={"native_id": f"{member}id"},
        inherited={"domainid": "domainid"},
        **options,
    )


DOMAIN = Structure(
    "domain",
    "mxapidomain",
    "maxdomain",
    "maxdomainid",
    "Domains",
    Node(
        DOMAINS,
        children=(
            _values("synonymdomain", "SYNONYM"),
            _values("alndomain", "ALN"),
            _values(
                "numericdomain",
                "NUMERIC",
                derived=(("value", "value", Kind.NUMBER_TEXT), ("value_num", "value", Kind.NUMERIC)),
            ),
            _values("numrangedomain", "NUMRANGE", is_optional=True),
            Node(
                DOMAIN_TABLES,
                "maxtabledomain",
                inherited={"domainid": "domainid"},
                children=(
                    Node(
                        DOMAIN_CROSSOVERS,
                        "crossoverdomain",
                        inherited={"domainid": "domainid", "maxtabledomainid": "maxtabledomainid"},
                    ),
                ),
            ),
            Node(DOMAIN_CONDITIONS, "maxdomvalcond", inherited={"domainid": "domainid"}),
        ),
    ),
    Cursor.NONE,
    200,
)

# peruser

PERSON = TableSpec(
    "person",
    "Persons; contact data only where personal data are kept",
    ("personid",),
    _text("personid displayname firstname lastname status status_maxvalue department title supervisor")
    + _text("location locationsite locationorg timezone language langcode acceptingwfmail")
    + _integer("personuid")
    + _boolean("loctoservreq")
    + _moment("statusdate")
    + _text("primaryemail primaryphone", is_personal=True),
    unique=("personuid",),
)
MAXUSER = TableSpec(
    "maxuser",
    "Users, each of a person",
    ("maxuserid",),
    _integer("maxuserid")
    + _text("personid userid status defsite type")
    + _text("insertsite", is_optional=True)
    + _boolean("querywithsite"),
    unique=("userid",),
    parent="person",
    links={"personid": "personid"},
)
MAXGROUP = TableSpec(
    "maxgroup",
    "Security groups; a placeholder where a membership names one that was not delivered",
    ("groupname",),
    _text("groupname description")
    + _integer("maxgroupid passwordduration passwordwarning")
    + _boolean("authallsites authallstorerooms authallgls authlaborall authlaborcrew authlaborself")
    + _boolean("authlaborsuper authpersongroup authallreps independent nullrepfac sidenav"),
    unique=("maxgroupid",),
    is_found_by_name=True,
)
GROUPUSER = TableSpec(
    "groupuser",
    "Memberships: which user is in which group",
    ("groupuserid",),
    _integer("groupuserid maxuserid") + _text("userid groupname"),
    parent="maxuser",
    links={"maxuserid": "maxuserid"},
    also_of=("maxgroup", "groupname"),
)
GROUPUSER_MAXGROUP = TableSpec(
    "groupuser_maxgroup",
    "The group that each membership brought with it, by its number",
    ("groupuserid",),
    _integer("groupuserid maxgroupid"),
    parent="groupuser",
    links={"groupuserid": "groupuserid"},
)
PERSON_SITE = TableSpec(
    "person_site",
    "Sites of persons: where their users work and insert",
    ("personid", "siteid"),
    (
        *_text("personid siteid"),
        Attribute("isdefault", Kind.BOOLEAN, "whether it is the user's defsite"),
        Attribute("isinsert", Kind.BOOLEAN, "whether it is the user's insertsite; null: there is none"),
    ),
    parent="person",
    links={"personid": "personid"},
)


def _read_sites(person: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for user in as_list(person.get("maxuser")):
        default, insert = (str(user.get(name) or "").strip() for name in ("defsite", "insertsite"))
        for site in filter(None, dict.fromkeys((default, insert))):
            found.setdefault(
                site,
                {
                    "siteid": site,
                    "isdefault": site == default,
                    "isinsert": site == insert if insert else None,
                },
            )
    return list(found.values())


PERUSER = Structure(
    "peruser",
    "mxapiperuser",
    "person",
    "personuid",
    "Persons and groups",
    Node(
        PERSON,
        children=(
            Node(
                MAXUSER,
                "maxuser",
                select="{maxuserid,userid,personid,status,type,defsite,insertsite,querywithsite}",
                inherited={"personid": "personid"},
                children=(
                    Node(
                        GROUPUSER,
                        "groupuser",
                        inherited={"maxuserid": "maxuserid", "userid": "userid"},
                        children=(
                            Node(
                                MAXGROUP,
                                "maxgroup",
                                inherited={"groupname": "groupname"},
                                growth=Growth.SHARED,
                            ),
                            Node(
                                GROUPUSER_MAXGROUP,
                                "maxgroup",
                                inherited={"groupuserid": "groupuserid"},
                                is_selected=False,
                            ),
                        ),
                    ),
                ),
            ),
            Node(
                PERSON_SITE,
                "person_site",
                inherited={"personid": "personid"},
                read=_read_sites,
                is_optional=True,
                is_selected=False,
            ),
        ),
    ),
    Cursor.ROWSTAMP,
    500,
    names=(
        *("personid", "personuid", "displayname", "firstname", "lastname", "status", "statusdate"),
        *("department", "title", "supervisor", "location", "locationsite", "locationorg", "timezone"),
        *("language", "langcode", "acceptingwfmail", "loctoservreq"),
    ),
    personal_names=("primaryemail", "primaryphone"),
    status=StatusScope(("ACTIVE",), "PERSONSTATUS"),
)

# locations

LOCATIONS = TableSpec(
    "locations",
    "Locations",
    ("siteid", "location"),
    _text("siteid location description status status_maxvalue type orgid glaccount changeby parent")
    + _text("locpriority serviceaddresscode gisparam1 failurecode shiftnum calnum")
    + _integer("locationsid")
    + _boolean("disabled isdefault autowogen useinpopr haschildren")
    + _moment("changedate statusdate"),
    unique=("locationsid",),
)
LOCATION = Structure(
    "locations",
    "mxapilocations",
    "locations",
    "locationsid",
    "Locations",
    Node(LOCATIONS),
    Cursor.CHANGEDATE,
    500,
    has_site=True,
    status=StatusScope(("OPERATING",), "LOCASSETSTATUS"),
    is_weekly=True,
)

# assets

ASSETS = TableSpec(
    "assets",
    "Assets",
    ("siteid", "assetnum"),
    _text("siteid assetnum description status status_maxvalue assettype location parent serialnum orgid")
    + _text("vendor manufacturer itemnum itemsetid failurecode glaccount changeby binnum usage")
    + _integer("assetuid assetid priority")
    + _numeric("purchaseprice replacecost totalcost ytdcost budgetcost unchargedcost invcost totdowntime")
    + _boolean("isrunning moved mainthierchy disabled children")
    + _moment("changedate statusdate")
    + _date("installdate"),
    unique=("assetuid",),
)
ASSETMETER = TableSpec(
    "assetmeter",
    "Meters of assets and their last readings",
    ("assetmeterid",),
    _integer("assetmeterid assetuid")
    + _text("assetnum siteid orgid metername measureunitid readingtype lastreading lastreadinginspctr")
    + (Attribute("lastreading_num", Kind.NUMERIC, "lastreading as a number, where it is one"),)
    + _numeric("average lifetodate sinceinstall")
    + _boolean("active")
    + _moment("lastreadingdate changedate"),
    parent="assets",
    links={"assetuid": "assetuid"},
)
ASSETSPEC = TableSpec(
    "assetspec",
    "Specifications of assets",
    ("assetspecid",),
    _integer("assetspecid assetuid displaysequence")
    + _text("assetnum siteid orgid assetattrid alnvalue measureunitid section tablevalue classstructureid")
    + _numeric("numvalue")
    + _moment("changedate"),
    parent="assets",
    links={"assetuid": "assetuid"},
)
ASSETDOCLINKS = TableSpec(
    "assetdoclinks",
    "Documents of assets, of their locations and items; one link recurs under many assets",
    ("assetuid", "doclinksid"),
    _integer("assetuid doclinksid ownerid docinfoid")
    + _text("ownertable title filename doctype description")
    + _moment("changedate"),
    parent="assets",
    links={"assetuid": "assetuid"},
)
_DOCUMENT_NAMES = {
    "identifier": "doclinksid",
    "fileName": "filename",
    "docType": "doctype",
    "ownerTable": "ownertable",
    "ownerId": "ownerid",
}


def _read_documents(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for link in as_list(asset.get("doclinks")):
        inner = link.get("describedBy")
        plain: dict[str, Any] = {name: value for name, value in link.items() if name != "describedBy"}
        for name, value in inner.items() if isinstance(inner, Mapping) else ():
            plain[_DOCUMENT_NAMES.get(str(name), str(name))] = value
        for name in ("doclinksid", "ownerid", "docinfoid"):
            text = plain.get(name)
            if isinstance(text, str) and text.strip().isdecimal():
                plain[name] = int(text)
        found.append(plain)
    return found


ASSET = Structure(
    "assets",
    "mxapiasset",
    "asset",
    "assetuid",
    "Assets",
    Node(
        ASSETS,
        children=(
            Node(
                ASSETMETER,
                "assetmeter",
                derived=(("lastreading_num", "lastreading", Kind.READING),),
                inherited={"assetuid": "assetuid"},
            ),
            Node(ASSETSPEC, "assetspec", inherited={"assetuid": "assetuid"}),
            Node(ASSETDOCLINKS, "doclinks", inherited={"assetuid": "assetuid"}, read=_read_documents),
        ),
    ),
    Cursor.CHANGEDATE,
    500,
    has_site=True,
    status=StatusScope(("OPERATING",), "LOCASSETSTATUS"),
    is_weekly=True,
    unhashed=("downtimereport",),
)

# inventory

INVENTORY = TableSpec(
    "inventory",
    "Items in storerooms",
    ("inventoryid",),
    _integer("inventoryid")
    + _text("itemnum itemsetid location siteid orgid status status_maxvalue category issueunit orderunit")
    + _text("binnum manufacturer vendor abctype glaccount controlacc")
    + (Attribute("item_description", Kind.TEXT, "description of the item", is_optional=True),)
    + _numeric("curbaltotal avblbalance reservedqty expiredqty stagedqty shippedqty")
    + _numeric("minlevel maxlevel orderqty sstock ccf deliverytime")
    + _boolean("internal reorder consignment")
    + _moment("statusdate lastissuedate nextinvoicedate"),
    unique=("itemnum", "itemsetid", "location", "siteid"),
)


def _of_inventory(name: str, words: str, key: tuple[str, ...], columns: tuple[Attribute, ...]) -> TableSpec:
    return TableSpec(
        name,
        words,
        key,
        _integer("inventoryid") + columns,
        parent="inventory",
        links={"inventoryid": "inventoryid"},
    )


_ITEM = _text("itemnum itemsetid siteid orgid")
INVBALANCES = _of_inventory(
    "inventory_invbalances",
    "Balances of items, by bin and lot",
    ("invbalancesid",),
    _integer("invbalancesid")
    + _ITEM
    + _text("location binnum lotnum conditioncode")
    + _numeric("curbal physcnt stagedcurbal")
    + _boolean("reconciled stagingbin")
    + _moment("physcntdate"),
)
INVCOST = _of_inventory(
    "inventory_invcost",
    "Costs of items",
    ("invcostid",),
    _integer("invcostid condrate")
    + _ITEM
    + _text("location conditioncode controlacc glaccount invcostadjacc shrinkageacc")
    + _numeric("avgcost lastcost stdcost"),
)
ITEMCONDITION = _of_inventory(
    "inventory_itemcondition",
    "Conditions in which an item may be",
    ("inventoryid", "itemconditionid"),
    _integer("itemconditionid condrate") + _text("itemnum itemsetid conditioncode description"),
)
MATRECTRANS = _of_inventory(
    "inventory_matrectrans",
    "Receipts and transfers of items; only added to",
    ("inventoryid", "matrectransid"),
    _integer("matrectransid")
    + _ITEM
    + _text("issuetype tostoreloc fromstoreloc tobin frombin ponum status enterby currencycode remark")
    + _numeric("quantity receiptquantity unitcost linecost loadedcost actualcost currencyunitcost")
    + _moment("transdate actualdate"),
)
MATUSETRANS = _of_inventory(
    "inventory_matusetrans",
    "Issues and returns of items; only added to; the quantity of an issue is negative",
    ("inventoryid", "matusetransid"),
    _integer("matusetransid")
    + _ITEM
    + _text("issuetype storeloc binnum location assetnum refwo ponum enterby issueto")
    + _numeric("quantity unitcost linecost actualcost")
    + _moment("transdate actualdate"),
)
TRANSFERCURITEM = _of_inventory(
    "inventory_transfercuritem",
    "What Maximo offers for a transfer of the item; computed by Maximo",
    ("inventoryid", "line_no"),
    _integer("line_no")
    + _ITEM
    + _text("frombin fromlot fromconditioncode tositeid tostoreloc tobin issueunit")
    + _numeric("quantity curbal unitcost"),
)


def _inventory_child(table: TableSpec, member: str, **options: Any) -> Node:
    return Node(table, member, inherited={"inventoryid": "inventoryid"}, **options)


INVENTORY_STRUCTURE = Structure(
    "inventory",
    "mxapiinventory",
    "inventory",
    "inventoryid",
    "Inventory",
    Node(
        INVENTORY,
        renamed={"item_description": "item.description"},
        children=(
            _inventory_child(INVBALANCES, "invbalances"),
            _inventory_child(INVCOST, "invcost"),
            _inventory_child(ITEMCONDITION, "itemcondition"),
            _inventory_child(TRANSFERCURITEM, "transfercuritem", line_number="line_no", is_hashed=False),
            _inventory_child(MATRECTRANS, "matrectrans", growth=Growth.APPEND),
            _inventory_child(MATUSETRANS, "matusetrans", growth=Growth.APPEND),
        ),
    ),
    Cursor.ROWSTAMP,
    100,
    names=("*", "item.description"),
    has_site=True,
    status=StatusScope(("ACTIVE",), "ITEMSTATUS"),
)

# work orders

WORKORDER = TableSpec(
    "workorder",
    "Work orders",
    ("workorderid",),
    _integer("workorderid wopriority")
    + _text("siteid wonum description status status_maxvalue worktype location assetnum parent orgid")
    + _text("taskid reportedby lead supervisor crewid persongroup failurecode problemcode glaccount")
    + _text("changeby woclass jpnum pmnum")
    + _boolean("istask historyflag haschildren hasfollowupwork downtime")
    + _numeric("estdur estlabhrs estlabcost estmatcost esttoolcost estservcost")
    + _numeric("actlabhrs actlabcost actmatcost acttoolcost actservcost acttotalcost outlabcost outmatcost")
    + _moment("reportdate statusdate targstartdate targcompdate schedstart schedfinish actstart actfinish")
    + _moment("changedate"),
    unique=("siteid", "wonum"),
)


def _of_workorder(name: str, words: str, key: tuple[str, ...], columns: tuple[Attribute, ...]) -> TableSpec:
    return TableSpec(
        name,
        words,
        key,
        _integer("workorderid") + columns,
        parent="workorder",
        links={"workorderid": "workorderid"},
    )


def _lines(name: str, words: str, columns: tuple[Attribute, ...]) -> TableSpec:
    return _of_workorder(
        name,
        f"{words}; a task's line recurs under its parent",
        ("workorderid", "line_kind", "native_id"),
        (
            Attribute("line_kind", Kind.TEXT, _LINE),
            Attribute("native_id", Kind.INTEGER, "the line's own id among those of its kind"),
            Attribute("wonum", Kind.TEXT, "the planned line's own work order or task", is_optional=True),
            Attribute("refwo", Kind.TEXT, "the booked line's own work order or task", is_optional=True),
            *_text("siteid orgid"),
            *columns,
        ),
    )


WOSERVICEADDRESS = _of_workorder(
    "woserviceaddress",
    "Where the work is done; the street only where personal data are kept",
    ("woserviceaddressid",),
    _integer("woserviceaddressid")
    + _text("wonum siteid saddresscode description city stateprovince country regiondistrict timezone")
    + _text("streetaddress postalcode", is_personal=True),
)
ASSETFAILURE = _of_workorder(
    "assetfailure",
    "Failures that work orders report",
    ("failurereportid",),
    _integer("failurereportid linenum")
    + _text("wonum siteid orgid assetnum type failurecode ticketid ticketclass"),
)
WOLABOR = _lines(
    "wolabor",
    "Labor of work orders, planned and booked",
    _text("laborcode craft skilllevel vendor transtype enterby")
    + _numeric("quantity laborhrs rate linecost regularhrs premiumpayhours payrate")
    + _boolean("genapprservreceipt")
    + _moment("transdate")
    + _date("startdate finishdate")
    + _clock("starttime finishtime"),
)
WOMATERIAL = _lines(
    "womaterial",
    "Material of work orders, planned and booked; an issue is negative",
    _text("itemnum itemsetid storeloc location binnum description linetype issuetype enterby assetnum")
    + _numeric("itemqty quantity unitcost linecost actualcost")
    + _moment("requiredate transdate actualdate"),
)
WOTOOL = _lines(
    "wotool",
    "Tools of work orders, planned and booked",
    _text("itemnum itemsetid toolnum description enterby assetnum")
    + _numeric("itemqty hours rate toolqty toolhrs toolrate linecost")
    + _moment("transdate enterdate"),
)


def _plan(table: TableSpec, member: str, native_id: str) -> Node:
    return _line(table, member, native_id, "PLAN", "{*}")


def _actual(table: TableSpec, member: str, native_id: str, select: str = "{*}") -> Node:
    return _line(table, member, native_id, "ACTUAL", select)


def _line(table: TableSpec, member: str, native_id: str, kind: str, select: str) -> Node:
    return Node(
        table,
        member,
        select,
        given={"line_kind": kind},
        renamed={"native_id": native_id},
        inherited={"workorderid": "workorderid"},
    )


WODETAIL = Structure(
    "wodetail",
    "mxapiwodetail",
    "workorder",
    "workorderid",
    "Work orders",
    Node(
        WORKORDER,
        children=(
            Node(WOSERVICEADDRESS, "woserviceaddress", inherited={"workorderid": "workorderid"}),
            _plan(WOLABOR, "wplabor", "wplaboruid"),
            _plan(WOMATERIAL, "wpmaterial", "wpitemid"),
            _plan(WOTOOL, "wptool", "wpitemid"),
            _actual(WOLABOR, "labtrans", "labtransid", "{*,startdate,finishdate}"),
            _actual(WOMATERIAL, "matusetrans", "matusetransid"),
            _actual(WOTOOL, "tooltrans", "tooltransid"),
            Node(ASSETFAILURE, "failurereport", inherited={"workorderid": "workorderid"}),
        ),
    ),
    Cursor.CHANGEDATE,
    100,
    names=("*", "acttotalcost"),
    has_site=True,
    status=StatusScope(("CLOSE", "CAN"), "WOSTATUS", is_excluding=True),
    flag=("historyflag", 0),
    is_weekly=True,
    must_narrow=True,
    is_fleeting=True,
)

STRUCTURES = (DOMAIN, PERUSER, LOCATION, ASSET, INVENTORY_STRUCTURE, WODETAIL)
"""In the order in which they are synced: what others refer to comes first."""

BY_SHORT_NAME = {structure.short: structure for structure in STRUCTURES}
EVERY = "all"
"""The word for all of them."""


def find_structures(names: tuple[str, ...]) -> tuple[Structure, ...]:
    """Return the structures of these short names in the order of syncing; none, or `all`, means all.

    Raises `KeyError` for a name of none.
    """
    chosen = set(names)
    if not chosen or EVERY in chosen:
        return STRUCTURES
    unknown = chosen - BY_SHORT_NAME.keys()
    if unknown:
        raise KeyError(*sorted(unknown))
    return tuple(item for item in STRUCTURES if item.short in chosen)


@dataclass(frozen=True)
class Reference:
    """Rows that name rows of another structure, which may not be there; nothing is refused for it."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


REFERENCES = (
    Reference("assets", ("siteid", "location"), "locations", ("siteid", "location")),
    Reference("assets", ("siteid", "parent"), "assets", ("siteid", "assetnum")),
    Reference("workorder", ("siteid", "location"), "locations", ("siteid", "location")),
    Reference("workorder", ("siteid", "assetnum"), "assets", ("siteid", "assetnum")),
    Reference("workorder", ("siteid", "parent"), "workorder", ("siteid", "wonum")),
    Reference("inventory", ("siteid", "location"), "locations", ("siteid", "location")),
)
