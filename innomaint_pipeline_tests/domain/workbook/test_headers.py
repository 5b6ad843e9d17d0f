import pytest

from innomaint_pipeline.domain.workbook.headers import column_letters, find_header
from innomaint_pipeline.domain.workbook.register import ParsedSheet
from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.domain.workbook.synonyms import (
    COLUMN_SYNONYMS,
    COLUMNS,
    build_matcher,
    load_mapping,
    normalize_header,
)
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline_tests.sheets import parse_sheet


def parse(*rows, synonyms=None) -> ParsedSheet:
    return parse_sheet(SheetRows("assets.xlsx", "Assets", rows), synonyms or {})


@pytest.mark.parametrize(
    ("header", "column"),
    [
        *(
            (header, "cmms_asset_id")
            for header in ("cmms_asset_id", "CMMS Asset ID", "Asset  Id", "ASSET-ID")
        ),
        *(
            (header, "cmms_asset_id")
            for header in ("Serial Number", "serialnumber", "InnoMaint ID", "Asset Code")
        ),
        *((header, "cmms_asset_id") for header in ("Equipment ID", "Asset No.", "Asset Tag", "Asset\nID *")),
        *(
            (header, "cmms_asset_id")
            for header in ("Asset ID (CMMS)", "Asset Code [Innomaint]", "asset\u00a0id")
        ),
    ],
)
def test_the_id_column_is_found_under_its_many_names(header, column):
    assert parse([header], ["A"]).columns == {" ".join(header.split()): column}


@pytest.mark.parametrize(
    ("header", "column"),
    [
        *(
            (header, "report_seq_no")
            for header in ("Sr No", "S.No.", "Sl. No.", "Seq No", "Report Seq No", "#")
        ),
        *((header, "asset_name") for header in ("Asset Name", "Equipment Name", "Name of the Equipment")),
        *((header, "equipment_category") for header in ("Equipment Category", "Asset Category", "Category")),
        *((header, "make") for header in ("Make", "Manufacturer", "BRAND")),
        *((header, "model") for header in ("Model", "Model No.", "Model Number")),
        *((header, "criticality") for header in ("Criticality", "Criticality Level")),
        *(
            (header, "capacity_rating")
            for header in ("Capacity / Rating", "Capacity & Rating", "Capacity (kW)")
        ),
        *((header, "customer_name") for header in ("Customer Name", "Client")),
        *((header, "location_name") for header in ("Location", "Site Name", "Plant")),
        *((header, "building_name") for header in ("Building Name", "Building", "Block")),
        *((header, "floor_name") for header in ("Floor", "Floor Name")),
        *((header, "department_name") for header in ("Department", "Dept.")),
        *((header, "in_charge_person") for header in ("In-charge Person", "Person In Charge", "INCHARGE")),
        *(
            (header, "installation_date")
            for header in ("Installation Date (DD/MM/YYYY)", "Date of Installation")
        ),
        *((header, "year_of_manufacturing") for header in ("Year of Manufacturing", "Mfg. Year", "YOM")),
    ],
)
def test_columns_are_found_under_their_many_names(header, column):
    assert parse(["Asset ID", header], ["A"]).columns == {"Asset ID": "cmms_asset_id", header: column}


def test_no_synonym_means_two_columns():
    phrases = [
        (normalize_header(phrase), column)
        for column, texts in COLUMN_SYNONYMS.items()
        for phrase in texts.split(",")
    ]
    phrases += [(normalize_header(column), column) for column in COLUMNS]
    assert len(dict(phrases)) == len(set(phrases))
    assert len(phrases) == len(set(phrases)), "a synonym is listed twice"


@pytest.mark.parametrize("header", ["Serial No", "S/N", "Name", "Type", "Remarks"])
def test_ambiguous_headers_are_not_guessed(header):
    assert parse(["Asset ID", header], ["A", "x"]).unmatched_headers == [header]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["Asset ID", "Make"], ["A", "x"]], 0),
        ([[], ["Asset register 2024"], [None, "Asset ID"], ["Sr No", "Asset ID", "Make"], [1, "A", "x"]], 3),
        ([["Asset ID"], ["A"], ["B"]], 0),
        ([["Asset ID"], ["Asset ID", "Foo", "Bar"], ["A", 1, 2]], 1),
        ([["Legend"], ["Asset ID", "the id in the CMMS"], ["Asset ID", "Foo", "Bar"], ["A", 1, 2]], 2),
        ([["Asset ID", "Make"], ["A", "x"], ["Asset ID", "Make", "Model", "Customer"]], 2),
        ([["Make", "Model"], ["x", "y"]], None),
        ([*([["title"]] * 49), ["Asset ID", "Make"]], 49),
        ([*([["title"]] * 50), ["Asset ID", "Make"]], None),
        ([], None),
    ],
)
def test_the_header_row_is_found_below_titles(rows, expected):
    found = find_header(rows, build_matcher({}))
    assert (found and found.last) == expected


def test_row_numbers_count_from_the_first_row_of_the_sheet():
    parsed = parse([], ["Register"], [], ["Asset ID", "Make"], [], ["A", "x"])
    assert parsed.header_row_number == 4
    assert parsed.records[0].row_number == 6


def test_the_columns_own_name_wins_over_a_synonym_and_a_notice_says_so():
    parsed = parse(["Serial Number", "CMMS Asset ID", "Make"], ["SN-1", "A-1", "x"])
    (record,) = parsed.records
    assert record.cmms_asset_id == "A-1"
    assert record.excel_attributes == {"Serial Number": "SN-1"}
    (notice,) = parsed.notices
    assert "'CMMS Asset ID' and 'Serial Number' (column A) both mean cmms_asset_id" in notice


def test_of_two_synonyms_the_first_wins():
    parsed = parse(["Asset Code", "Serial Number", "Brand", "Manufacturer"], ["A-1", "SN-1", "x", "y"])
    (record,) = parsed.records
    assert (record.cmms_asset_id, record.values["make"]) == ("A-1", "x")
    assert record.excel_attributes == {"Serial Number": "SN-1", "Manufacturer": "y"}
    assert len(parsed.notices) == 2


def test_the_same_header_twice_keeps_both_columns():
    parsed = parse(["Asset ID", "Make", "Make"], ["A-1", "x", "y"])
    assert parsed.records[0].values["make"] == "x"
    assert parsed.records[0].excel_attributes == {"Make (2)": "y"}
    assert parsed.unmatched_headers == ["Make (2)"]


def test_an_explicit_mapping_wins_over_the_columns_own_name():
    parsed = parse(
        ["CMMS Asset ID", "Plate", "Make"], ["old", "P-1", "x"], synonyms={"plate": "cmms_asset_id"}
    )
    assert parsed.records[0].cmms_asset_id == "P-1"
    assert parsed.records[0].excel_attributes == {"CMMS Asset ID": "old"}


def test_a_mapping_can_keep_a_known_header_as_an_attribute():
    parsed = parse(
        ["Serial Number", "Asset Code"], ["SN-1", "A-1"], synonyms={"Serial Number": "excel_attributes"}
    )
    assert parsed.records[0].cmms_asset_id == "A-1"
    assert parsed.records[0].excel_attributes == {"Serial Number": "SN-1"}
    assert parsed.notices == []


@pytest.mark.parametrize(
    "text",
    [
        '{"Kennung": "cmms_asset_id", "Hersteller": "make"}',
        '\n  {"Kennung": "cmms_asset_id", "Hersteller": "make"}',
        '# ours\nKennung = "cmms_asset_id"\n"Hersteller" = "make"\n',
    ],
)
def test_a_mapping_is_json_or_toml(text):
    assert load_mapping(text) == {"Kennung": "cmms_asset_id", "Hersteller": "make"}


def test_an_empty_mapping_maps_nothing():
    assert load_mapping("") == load_mapping("{}") == {}


def test_a_mapping_to_an_unknown_column_names_it_and_all_columns():
    with pytest.raises(ConfigurationError) as caught:
        load_mapping('{"Tag": "asset_tag"}')
    assert "'Tag'" in str(caught.value)
    assert "'asset_tag'" in str(caught.value)
    assert all(column in str(caught.value) for column in (*COLUMNS, "excel_attributes"))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"Tag": 5}', "sends 'Tag' to 5"),
        ('{"Tag": null}', "sends 'Tag' to None"),
        ('[columns]\nTag = "make"', "sends 'columns'"),
        ('["Tag", "make"]', "neither as JSON nor as TOML"),
        ('{"Tag": ', "neither as JSON nor as TOML"),
        ("Tag: make", "neither as JSON nor as TOML"),
        ('{" ": "make"}', "blank header"),
        ('{"Asset Tag": "make", "asset-tag": "model"}', "'Asset Tag' to make and 'asset-tag' to model"),
    ],
)
def test_a_malformed_mapping_is_refused_with_its_cause(text, cause):
    with pytest.raises(ConfigurationError, match="the mapping") as caught:
        load_mapping(text)
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("position", "letters"),
    [(0, "A"), (6, "G"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16383, "XFD")],
)
def test_columns_are_lettered_as_in_a_spreadsheet(position, letters):
    assert column_letters(position) == letters


def test_a_header_of_two_rows_reads_as_group_and_part_where_that_is_more() -> None:
    for groups, parts, columns in (
        (
            [None, "Asset", None, "Installation", None],
            ["Sr", "ID", "Zone", "Date", "Crew"],
            {"Sr": "report_seq_no", "Asset ID": "cmms_asset_id", "Installation Date": "installation_date"},
        ),
        (
            ["Asset ID", "Place", None, "Technical", None],
            [None, "Building", "Floor", "Make", "Voltage"],
            {
                "Asset ID": "cmms_asset_id",
                "Building": "building_name",
                "Floor": "floor_name",
                "Make": "make",
            },
        ),
        (["Asset", None, None], ["Asset ID", "Make", "Zone"], {"Asset ID": "cmms_asset_id", "Make": "make"}),
        (
            ["Site:", "Pune", None],
            ["Asset ID", "Make", "Zone"],
            {"Asset ID": "cmms_asset_id", "Make": "make"},
        ),
    ):
        row = [f"{number}" for number in range(len(parts))]
        parsed = parse_sheet(SheetRows("a.xlsx", "Assets", [groups, parts, row]))
        assert parsed.columns == columns
        assert parsed.header_row_number == 2
        assert len(parsed.records) == 1


def test_a_row_with_a_truth_value_is_no_second_row_of_the_header() -> None:
    for truth in (True, False, "TRUE", "false "):
        parsed = parse(["Asset ID", "Make", None], [None, None, truth], ["A", "Elgi", truth])
        assert parsed.header_row_number == 1
        assert [it.cmms_asset_id for it in parsed.records] == ["A"]
        assert [it.row_number for it in parsed.rejects] == [2]
