"""Customer lists as PDF: drawn by the generator, and drawn as other people's programs draw them."""

import random
import re
from pathlib import Path

import pikepdf
import pytest

from innomaint_pipeline.domain.customers.assembling import assemble_list
from innomaint_pipeline.domain.customers.cells import read_page
from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.drawn import TablePage
from innomaint_pipeline.simulator.customers.drawing import ENGLISH_HEADERS, Fault, draw_customers, draw_list
from innomaint_pipeline.simulator.customers.people import invent_customers
from innomaint_pipeline.sources.customers.headers import read_headers
from innomaint_pipeline.sources.customers.pdf_pages import PdfPages
from innomaint_pipeline.sources.customers.reading import PARSER_VERSION
from innomaint_pipeline_tests.sources.customers.raw_lists import (
    NAMES,
    ROW,
    RawList,
    find_failed,
    find_issues,
    frame,
    read_apart,
    read_here,
    show,
    show_apart,
)

CUSTOMERS = invent_customers(8, seed=14)


def write(path: Path, raw: RawList) -> Path:
    path.write_bytes(raw.build())
    return path


def draw_here(tmp_path: Path, raw: RawList):
    return read_here(write(tmp_path / "list.pdf", raw))


def values_of(content) -> list[dict[str, object]]:
    return [{"erp_id": row.erp_id, **row.values} for row in content.rows]


def test_each_fault_of_the_generator_fails_the_check_that_it_is_made_for(tmp_path):
    expected = {
        Fault.NO_TOTALS: "totals_agree",
        Fault.WRONG_TOTALS: "totals_agree",
        Fault.PAGE_DROPPED: "headers_are_complete",
        Fault.LAST_CYCLE_CUT: "headers_are_complete",
        Fault.COLUMN_MISSING: "headers_are_complete",
        Fault.OTHER_LANGUAGE: "headers_are_complete",
        Fault.EMPTY: "file_is_whole",
        Fault.HTML: "file_is_whole",
        Fault.HALF_WRITTEN: "file_is_whole",
        Fault.ENCRYPTED: "file_is_whole",
        Fault.DUPLICATE_ID: "ids_are_unique",
        Fault.BAD_ID: "ids_are_unique",
        # Read all the same: by header, and a filter is found only beside an earlier list.
        Fault.COLUMNS_REORDERED: None,
        Fault.FILTERED: None,
    }
    assert set(expected) == set(Fault)
    path = tmp_path / "list.pdf"
    for fault, check in expected.items():
        draw_list(path, 12, fault=fault)
        content = read_apart(path) if check in {"file_is_whole", None} else read_here(path)
        failed = find_failed(content)
        assert [it.check for it in failed] == ([check] if check else []), fault
        assert all(surname not in it.message for it in failed for surname in ("Abete", "Bruni", "Neri")), (
            fault
        )
        if check == "ids_are_unique":
            # Every row that is printed counts, also one that shares its id or has none.
            assert len(content.rows) == 12
            assert re.search(r"found (1 row without|2 rows that share)", failed[0].message)
        is_pdf = fault not in {Fault.EMPTY, Fault.HTML}
        assert all(it.figures.get("is_pdf", True) == is_pdf for it in failed), fault
    draw_list(path, 0)
    assert [it.check for it in find_failed(read_here(path))] == ["totals_agree"]


def test_cycles_of_eight_and_nine_pages_and_other_orders_of_columns_give_the_same_rows(tmp_path):
    path, told = tmp_path / "list.pdf", []
    for number, (cycle, fault) in enumerate(((8, None), (9, None), (None, Fault.COLUMNS_REORDERED))):
        draw_list(path, 70, cycle=cycle, fault=fault)
        content = read_here(path)
        assert not find_failed(content)
        assert content.cycle_pages == cycle or number == 2
        told.append(values_of(content))
    assert told[0] == told[1] == told[2] == [dict(it) for it in invent_customers(70)]


def test_pages_in_another_order_are_found_though_every_sum_agrees(tmp_path):
    path = tmp_path / "list.pdf"
    draw_list(path, 140, seed=3)
    drawn = PdfPages(path)
    pages = [read_page(number, drawn.draw(number)) for number in range(1, drawn.count + 1)]
    drawn.close()
    assert not find_failed(assemble_list(pages, NAMES))
    # Of the first and the third slice, which have as many rows, wrapped at other places.
    first, second = 2, 2 + 2 * assemble_list(pages, NAMES).cycle_pages
    exchanged = list(pages)
    exchanged[first], exchanged[second] = pages[second], pages[first]
    [failed] = find_failed(assemble_list(exchanged, NAMES))
    assert failed.check == "cycles_are_aligned"
    assert f"page {pages[second].number}: found the edge" in failed.message
    doubled = [*pages[:3], *pages[2:]]
    assert [it.check for it in find_failed(assemble_list(doubled, NAMES))] == ["headers_are_complete"]
    # Another row at the same edges, its last one cut off, and an ID that is a customer's.
    assert isinstance(pages[1], TablePage)
    shorter = TablePage(2, pages[1].headers, pages[1].edges[:-1], pages[1].rows[:-1])
    [failed] = find_failed(assemble_list([pages[0], shorter, *pages[2:]], NAMES))
    assert failed.check == "cycles_are_aligned"
    [failed] = find_failed(assemble_list(pages[1:], NAMES))
    assert "does not begin with the header 'ID'" in failed.message


def test_a_list_in_another_language_is_read_with_its_headers_named(tmp_path):
    draw_list(tmp_path / "list.pdf", 6, fault=Fault.OTHER_LANGUAGE)
    names = {name: [header] for name, header in ENGLISH_HEADERS.items()}
    content = read_here(tmp_path / "list.pdf", names)
    assert not find_failed(content)
    assert values_of(content) == [dict(it) for it in invent_customers(6)]
    toml = tmp_path / "headers.toml"
    toml.write_text("\n".join(f'{name} = ["{header}"]' for name, header in ENGLISH_HEADERS.items()), "utf-8")
    assert read_headers(toml).columns["PREVIOUS SALES"] == ("previous_sales_1", "previous_sales_2")


def test_a_plain_list_and_one_of_odd_but_harmless_operators_read_the_same(tmp_path):  # noqa: C901 # ten ways
    """Each way draws the same values otherwise: clips, pieces, order, lines, a white sheet, blanks."""
    dice = random.Random(7)

    def clip_words(raw: RawList) -> None:
        raw.first = "1 1 1 rg 0 0 900 792 re f"
        for (row, name), text in raw.texts.items():
            x, y = raw.place(row, name)
            words = re.split("( )", raw.rows[row][name])
            shown = show_apart(x + 2.15, y + 3.5, words) if row else text
            raw.texts[row, name] = f"q {x} {y} {raw.width(name) + 40} {ROW} re W n {shown} Q"

    def letter_by_letter(raw: RawList) -> None:
        for row, name in raw.texts:
            if row:
                raw.texts[row, name] = show_apart(*raw.at(row, name), list(raw.rows[row][name]))

    def shuffle(raw: RawList) -> None:
        letter_by_letter(raw)
        for key, text in list(raw.texts.items()):
            parts = [f"{it} ET" for it in text.split(" ET") if it.strip()]
            raw.texts[key] = " ".join(dice.sample(parts, len(parts)))
        keys = list(raw.texts)
        raw.texts = {key: raw.texts[key] for key in dice.sample(keys, len(keys))}

    def cut_in_two(raw: RawList) -> None:
        for row in range(1, len(raw.rows) - 1):
            x, y = raw.at(row, "postal_code")
            code = raw.rows[row]["postal_code"]
            cut = 1 + row % 4
            raw.texts[row, "postal_code"] = f"{show(x, y, code[:cut])} {show(x + cut * 4.875, y, code[cut:])}"

    def add_blanks(raw: RawList) -> None:
        for row, name in list(raw.texts):
            x, y = raw.at(row, name)
            raw.texts[row, name] += show(x + 18, y, " ") + " BT /F1 9 Tf 1 0 0 1 80 740 Tm <> Tj ( ) Tj ET"

    def draw_twice(raw: RawList) -> None:
        for row, name in raw.texts:
            if row:
                x, y = raw.at(row, name)
                text = raw.rows[row][name]
                shadow = show(x + 0.6, y - 0.6, text, before="0.7 g")
                raw.texts[row, name] = f"{shadow} {raw.texts[row, name]} {show(x + 0.3, y, text)}"

    def condense(raw: RawList) -> None:
        for (row, name), text in raw.texts.items():
            if row:
                raw.texts[row, name] = text.replace("Tf ", "Tf 50 Tz ").replace(" ET", " 100 Tz ET")

    def stroke(raw: RawList) -> None:
        for row, name in raw.borders:
            x, y = raw.place(row, name)
            fill = f"0.5 g {x} {y} {raw.width(name)} {ROW} re f " if row == 0 else ""
            raw.borders[row, name] = f"{fill} 0 G 0.5 w {x} {y} {raw.width(name)} {ROW} re S"

    def underline(raw: RawList) -> None:
        for row in range(1, len(raw.rows) - 1):
            x, y = raw.at(row, "street")
            raw.texts[row, "street"] += (
                f" {x} {y - 1.5} 70 .5 re f 0 G {x} {y - 1.2} m {x + 70} {y - 1.2} l S"
            )

    def flip(raw: RawList) -> None:
        for key, text in raw.texts.items():
            turned = re.sub(
                r"1 0 0 1 ([\d.]+) ([\d.]+) Tm",
                lambda found: f"1 0 0 -1 {found[1]} {792 - float(found[2]):.3f} Tm",
                text,
            )
            raw.texts[key] = f"q 1 0 0 -1 0 792 cm {turned} Q"

    expected = [dict(it) for it in CUSTOMERS]
    ways = (
        clip_words,
        letter_by_letter,
        shuffle,
        cut_in_two,
        add_blanks,
        draw_twice,
        condense,
        stroke,
        underline,
        flip,
    )
    for change in (lambda _: None, *ways):
        raw = RawList(CUSTOMERS)
        change(raw)
        content = draw_here(tmp_path, raw)
        assert not find_failed(content), change
        assert not find_issues(content), change
        assert values_of(content) == expected, change


def test_text_that_is_not_the_tables_refuses_the_file(tmp_path):
    texts = {
        "slanted text": "BT /F1 30 Tf 0.7 0.7 -0.7 0.7 200 500 Tm (BOZZA) Tj ET",
        "invisible text": "BT 3 Tr /F1 9 Tf 1 0 0 1 90 690 Tm (ocr) Tj ET",
        "text in a layer": "/OC /MC0 BDC BT /F1 9 Tf 1 0 0 1 90 690 Tm (strato) Tj ET EMC",
        "white text": "1 g BT /F1 9 Tf 1 0 0 1 90 690 Tm (nota) Tj ET",
        "text outside the cells": "0 g BT /F1 9 Tf 1 0 0 1 90 740 Tm (Pagina 3) Tj ET",
        "lines beside the table": "0.66 g 72 60 100 .5 re f 72 60 .5 20 re f",
    }
    for word, operators in texts.items():
        raw = RawList(CUSTOMERS)
        raw.more["city"] = f"q {operators} Q"
        [failed] = find_failed(draw_here(tmp_path, raw))
        assert failed.check == "file_is_whole"
        assert failed.message.startswith(f"page {raw.page_of('city')}: found {word}"), failed.message
        blank = RawList(CUSTOMERS)
        blank.more["city"] = re.sub(r"\(\w[^)]*\)", "( )", f"q {operators} Q")
        assert not find_failed(draw_here(tmp_path, blank)) or word == "lines beside the table"


def test_a_form_in_a_layer_refuses_the_file(tmp_path):
    path = write(tmp_path / "plain.pdf", RawList(CUSTOMERS))
    with pikepdf.open(path) as pdf:
        page = pdf.pages[2]
        form = pdf.make_stream(b"BT /F1 9 Tf 1 0 0 1 90 690 Tm (strato) Tj ET", Subtype=pikepdf.Name.Form)
        form.BBox, form.Resources = [0, 0, 612, 792], page.Resources
        form.OC = pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name="L")
        page.Resources = pikepdf.Dictionary(Font=page.Resources.Font, XObject=pikepdf.Dictionary(Fm0=form))
        page.Contents = pdf.make_stream(page.Contents.read_bytes() + b" q /Fm0 Do Q")
        pdf.save(tmp_path / "layer.pdf")
    [failed] = find_failed(read_apart(tmp_path / "layer.pdf"))
    assert (failed.check, "layer" in failed.message) == ("file_is_whole", True)


def test_merged_cells_refuse_the_file_and_name_page_and_column(tmp_path):
    for first, second, hidden in (
        ((3, "city"), (4, "city"), "'CITTÀ'"),
        ((5, "street"), (5, "postal_code"), "'VIA:' and 'INDIRIZZO LOGISTICO CAP'"),
    ):
        raw = RawList(CUSTOMERS)
        (x, y), (other_x, other_y) = raw.place(*first), raw.place(*second)
        width = max(x + raw.width(first[1]), other_x + raw.width(second[1])) - x
        raw.borders[first] = frame(x, min(y, other_y), width, max(y, other_y) - min(y, other_y) + ROW)
        raw.borders[second] = ""
        [failed] = find_failed(draw_here(tmp_path, raw))
        assert failed.check == "file_is_whole"
        assert failed.message.startswith(f"page 3, column {hidden}: "), failed.message


def test_a_text_too_long_for_its_cell_is_an_issue_of_every_cell_that_it_reaches(tmp_path):
    long = "Via della Repubblica Italiana e dei Santi Pietro e Paolo di Sopra, 1234/B"

    def plain(raw: RawList) -> str:
        return show(*raw.at(4, "street"), long)

    def clipped(raw: RawList) -> str:
        x, y = raw.place(4, "street")
        return f"q {x} {y} {raw.width('street')} {ROW} re W n {plain(raw)} Q"

    def letters(raw: RawList) -> str:
        return show_apart(
            *raw.at(4, "street"), list("Viale.della.Repubblica.Italiana.e.dei.Santi.Pietro.e.Paolo")
        )

    for drawing in (plain, clipped, letters):
        for is_next_filled in (True, False):
            raw = RawList(CUSTOMERS)
            raw.texts[4, "street"] = drawing(raw)
            if not is_next_filled:
                del raw.texts[4, "postal_code"]
            content = draw_here(tmp_path, raw)
            assert not find_failed(content)
            assert (
                {(4, "street"), (4, "postal_code")}
                <= set(find_issues(content))
                <= {*((4, name) for name in ("street", "postal_code", "city"))}
            )
            assert "street" not in content.rows[3].values
    # Beyond the last column nobody is reached but the cell itself.
    for operators in (show, lambda x, y, text: show_apart(x, y, list(text))):
        raw = RawList(CUSTOMERS)
        raw.texts[4, "city"] = operators(*raw.at(4, "city"), "Castelfranco di Sopra e di Sotto e di Mezzo")
        content = draw_here(tmp_path, raw)
        assert not find_failed(content)
        assert set(find_issues(content)) == {(4, "city")}


def test_two_texts_at_one_place_are_an_issue(tmp_path):
    for dx, dy in ((0, 0), (3, 0), (2, -3)):
        raw = RawList(CUSTOMERS)
        x, y = raw.at(4, "city")
        raw.texts[4, "city"] = f"{show(x, y, 'Milano')} {show(x + dx, y + dy, 'Roma')}"
        assert set(find_issues(draw_here(tmp_path, raw))) == {(4, "city")}


def test_a_hyphen_at_the_end_of_a_text_or_line_is_a_hyphen(tmp_path):
    raw = RawList(CUSTOMERS)
    raw.texts[3, "city"] = show(*raw.at(3, "city"), "Presicce-")
    content = draw_here(tmp_path, raw)
    assert content.rows[2].values["city"] == "Presicce-"
    customers = [dict(it) for it in CUSTOMERS]
    customers[5]["name"] = "Impresa Costruzioni Generali Vette e Ulivi- " + "Salici" * 5
    draw_customers(tmp_path / "wrapped.pdf", customers)
    wrapped = read_here(tmp_path / "wrapped.pdf").rows[5].values["name"]
    assert wrapped == "Impresa Costruzioni Generali Vette e Ulivi- " + "Salici" * 5


MAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def
1 begincodespacerange <0000> <ffff> endcodespacerange
2 beginbfchar <0041> <0041> <0042> <%s> endbfchar
endcmap end end"""


DESCRIPTOR = (
    b"<</Type/FontDescriptor/FontName/Times-Roman/Flags 4/FontBBox[0 0 1000 900]/ItalicAngle 0/Ascent 683"
    b"/Descent -217/CapHeight 662/StemV 84>>"
)
DESCENDANT = (
    b"<</Type/Font/Subtype/CIDFontType2/BaseFont/Times-Roman/DW 500/CIDToGIDMap/Identity/FontDescriptor 3 0 R"
    b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>"
)


def map_letter(raw: RawList, code: str) -> None:
    """Draw A, a letter that a table turns into `code`, and A as the city of the third customer."""
    table = (MAP % code).encode()
    raw.further = [
        DESCRIPTOR,
        DESCENDANT,
        b"<</Length %d>>\nstream\n%b\nendstream" % (len(table), table),
    ]
    raw.fonts["F9"] = (
        b"<</Type/Font/Subtype/Type0/BaseFont/Times-Roman/Encoding/Identity-H/DescendantFonts[4 0 R]"
        b"/ToUnicode 5 0 R>>"
    )
    x, y = raw.at(3, "city")
    raw.texts[3, "city"] = f"0 g BT /F9 9.75 Tf 1 0 0 1 {x} {y} Tm <004100420041> Tj ET"


def test_what_is_no_letter_is_an_issue_and_what_is_one_is_read(tmp_path):
    for code in ("0000", "0009", "001F", "D83D", "DE00", "E001", "F8FF", "FFFD", "FFFE", "FFFF", "DBFFDFFD"):
        raw = RawList(CUSTOMERS)
        map_letter(raw, code)
        content = draw_here(tmp_path, raw)
        assert not find_failed(content)
        [(place, issue)] = find_issues(content).items()
        assert (place, issue.reason) == ((3, "city"), "a letter has no Unicode mapping"), code
        assert issue.raw_value in {"A\N{REPLACEMENT CHARACTER}A", "ABA"}, code
    letters = {
        "D83DDE00": "A\U0001f600A",
        "FB01": "AfiA",
        "FB00": "AffA",
        "00660066": "AffA",
        "0301": "\xc1A",
    }
    letters |= {"200B": "AA", "00AD": "AA", "00A0": "A A", "2003": "A A", "0085": "A A", "2212": "A\u2212A"}
    for code, city in letters.items():
        raw = RawList(CUSTOMERS)
        map_letter(raw, code)
        content = draw_here(tmp_path, raw)
        assert content.rows[2].values.get("city") == city, code
    nameless = RawList(CUSTOMERS)
    nameless.fonts["F9"] = (
        b"<</Type/Font/Subtype/Type1/BaseFont/ABCDEF+X/FirstChar 97/LastChar 99/Widths[500 500 500]"
        b"/Encoding<</Type/Encoding/Differences[97/g1/g2/g3]>>>>"
    )
    for name in ("city", "name"):
        x, y = nameless.at(3, name)
        nameless.texts[3, name] = f"0 g BT /F9 9.75 Tf 1 0 0 1 {x} {y} Tm (abc) Tj ET"
    content = draw_here(tmp_path, nameless)
    assert not find_failed(content)
    assert set(find_issues(content)) == {(3, "city"), (3, "name")}
    assert "name" not in content.rows[2].values


def test_numbers_at_the_rim_are_read_and_those_beyond_fail_the_totals(tmp_path):
    customers = [dict(it) for it in CUSTOMERS]
    raw = RawList(customers)
    printed = {1: "-0,00 €", 2: "12,30-", 3: "(12,30 €)"}
    for row in range(1, len(raw.rows) - 1):
        raw.texts[row, "actual_sales"] = show(*raw.at(row, "actual_sales"), printed.get(row, "0,00 €"))
        raw.texts[row, "actual_order_count"] = show(
            *raw.at(row, "actual_order_count"), "-3" if row == 1 else "0"
        )
    last = len(raw.rows) - 1
    raw.texts[last, "actual_sales"] = show(*raw.at(last, "actual_sales"), "Sum=-24,60 €")
    raw.texts[last, "actual_order_count"] = show(*raw.at(last, "actual_order_count"), "Sum=-3")
    content = draw_here(tmp_path, raw)
    assert not find_failed(content)
    sales = [str(it.values["actual_sales"]) for it in content.rows[:3]]
    assert (sales, content.rows[0].values["actual_order_count"]) == (["0.00", "-12.30", "-12.30"], -3)
    for name, value in (("actual_sales", "1.000.000.000.000,00 €"), ("actual_order_count", "3.000.000.000")):
        beyond = RawList(CUSTOMERS)
        beyond.texts[2, name] = show(*beyond.at(2, name), value, size=6)
        [failed] = find_failed(draw_here(tmp_path, beyond))
        assert (failed.check, failed.figures["differing"]) == ("totals_agree", [name])


def test_damage_that_pdfium_does_not_notice_refuses_the_file_and_names_the_page(tmp_path):
    path = write(tmp_path / "list.pdf", RawList(invent_customers(30)))
    body = path.read_bytes()
    streams = list(re.finditer(rb"/Length (\d+)>>\nstream\n", body))
    start, length = streams[2].end(), int(streams[2][1])
    middle = start + length // 2
    spoilt = {
        "tail": body[:middle] + bytes(start + length - middle) + body[start + length :],
        "hole": body[:middle] + bytes(64) + body[middle + 64 :],
        "checksum": body[: start + length - 1]
        + bytes([body[start + length - 1] ^ 1])
        + body[start + length :],
    }
    for name, data in spoilt.items():
        path.write_bytes(data)
        [failed] = find_failed(read_apart(path))
        assert (failed.check, "page 3" in failed.message) == ("file_is_whole", True), name
    # A producer that writes wrong checksums does so on each page, and no value is lost.
    wrong = bytearray(body)
    for found in streams:
        wrong[found.end() + int(found[1]) - 1] ^= 1
    path.write_bytes(bytes(wrong))
    assert len(read_apart(path).rows) == 30


def test_an_unknown_column_is_kept_and_reported(tmp_path):
    raw = RawList(CUSTOMERS)
    raw.texts[0, "our_account_number"] = show(
        *raw.at(0, "our_account_number"), "IL NOSTRO NUMERO DI CONTO", size=4
    )
    x, y = raw.place(0, "our_account_number")
    for row in range(len(raw.rows)):
        left = x + raw.width("our_account_number")
        raw.more["our_account_number"] = raw.more.get("our_account_number", "") + frame(
            left, y - ROW * row, 80, ROW
        )
    header = show(left + 2, y + 3.5, "Zona", before="1 g")
    raw.more["our_account_number"] += (
        f" 0.5 g {left} {y} 80 {ROW} re f {header} {show(left + 2, y - ROW + 3.5, 'Nord')}"
    )
    content = draw_here(tmp_path, raw)
    assert not find_failed(content)
    assert content.unknown_headers == ("Zona",)
    assert [it.extra for it in content.rows[:2]] == [{"Zona": "Nord"}, {}]


def test_the_version_of_the_parser_names_that_of_pdfium():
    assert re.fullmatch(r"\d+ \(pypdfium2 5\.15\.2, pdfium [\d.]+\)", PARSER_VERSION)


@pytest.mark.parametrize("name", [column.name for column in COLUMNS[16:22]])
def test_each_sum_is_checked_to_the_cent(tmp_path, name):
    raw = RawList(CUSTOMERS)
    last = len(raw.rows) - 1
    printed = raw.rows[last][name]
    digit = max(index for index, letter in enumerate(printed) if letter.isdigit())
    other = f"{printed[:digit]}{(int(printed[digit]) + 1) % 10}{printed[digit + 1 :]}"
    raw.texts[last, name] = show(*raw.at(last, name), other)
    [failed] = find_failed(draw_here(tmp_path, raw))
    assert (failed.check, failed.figures["differing"]) == ("totals_agree", [name])
