import io
import os
import random
import struct
import zipfile
import zlib
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds
from innomaint_pipeline_tests.sources.workbook.workbook_files import (
    ole_container,
    read_sheet,
    repack,
    write_xlsx,
    xls_workbook,
)

ROWS = [["Asset ID", "Make"], ["A-1", "KSB"]]


def small_xlsx(tmp_path: Path) -> Path:
    return write_xlsx(tmp_path / "small.xlsx", {"S": ROWS})


def small_ods(tmp_path: Path) -> Path:
    path = tmp_path / "small.ods"
    pd.DataFrame(ROWS[1:], columns=ROWS[0]).to_excel(path, engine="odf", index=False)
    return path


def zip_of(**parts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.xlsx", b"", "the file is empty"),
        ("a.csv", b"", "the file is empty"),
        ("a.pdf", b"%PDF-1.7", "'.pdf' is no known kind of workbook, expected .xlsx"),
        ("a", b"x", "'' is no known kind of workbook"),
        ("a.xlsb", b"PK\x03\x04", "'.xlsb' is no known kind"),
        ("a.xlsx", b"Asset ID,Make\n", "the name says .xlsx, but the content is plain text"),
        (
            "a.xls",
            "Asset ID\tMake\nA1\tKSB\n".encode("utf-16"),
            "text in UTF-16 (saved as Unicode text?); rename",
        ),
        ("a.csv", "Asset ID\tMake\nA1\tKSB\n".encode("utf-16-le"), "UTF-16 text without the mark"),
        ("a.csv", "Asset ID\tMake\nA1\tKSB\n".encode("utf-32"), "UTF-32"),
        ("a.xls", b"MIME-Version: 1.0\n\n<table>", "a web archive (MHTML)"),
        ("a.xlsx", b"version https://git-lfs.github.com/spec/v1\noid x\n", "a pointer of git-lfs"),
        ("a.csv", b"%PDF-1.7 x", "a PDF document"),
        ("~$a.xlsx", b"\x05alice" + bytes(50), "the lock file that Office keeps while 'a.xlsx' is open"),
        (".~lock.a.ods#", b",alice,host,01.01.2024 10:00,file:///home;", "the lock file that Office keeps"),
        *(
            (
                "a.ods",
                zip_of(
                    **{
                        "mimetype": f"application/vnd.oasis.opendocument.{it}".encode(),
                        "content.xml": b"<x/>",
                    }
                ),
                it,
            )
            for it in ("text", "graphics", "presentation")
        ),
        ("a.ods", zip_of(**{"mimetype": b"", "content.xml": b"<x/>"}), "unknown kind"),
        (
            "a.xlsx",
            zip_of(**{"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}),
            "a Word document",
        ),
        ("a.xls", b"<html><table><tr><td>Asset ID", "the name says .xls, but the content is a web page"),
        ("a.xls", b"<?xml version='1.0'?><Workbook/>", "the content is XML"),
        ("a.ods", b"\x00\x01\x02\x03", "binary data of another kind"),
        ("a.xlsx", zip_of(readme=b"x"), "a zip archive that holds no workbook"),
        ("a.xls", zip_of(readme=b"x"), "a zip archive"),
        ("a.csv", zip_of(readme=b"x"), "a zip archive"),
        ("a.xlsx", b"PK\x03\x04 and then nothing", "damaged or incomplete"),
        ("a.xlsx", xls_workbook("S", [["Asset ID"]]), "an old Office document"),
        ("a.csv", xls_workbook("S", [["Asset ID"]]), "an old Office document"),
        ("a.xls", ole_container({"WordDocument": b"x"}), "a Word document"),
        ("a.xls", ole_container({"Something": b"x"}), "damaged or no .xls workbook"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "damaged or no .xls workbook"),
        (
            "a.xlsx",
            ole_container({"EncryptionInfo": b"x", "EncryptedPackage": b"y"}),
            "the workbook is encrypted",
        ),
        (
            "a.xlsm",
            ole_container({"EncryptionInfo": b"x", "EncryptedPackage": b"y"}),
            "the workbook is encrypted",
        ),
        ("a.xls", xls_workbook("S", [["Asset ID"]], is_protected=True), "the workbook is encrypted"),
    ],
)
def test_what_is_no_workbook_is_refused_with_file_and_cause(tmp_path, name, content, cause):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkbookError) as caught:
        read_sheet(tmp_path / name)
    assert str(caught.value).startswith(f"{name}: ")
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cause"),
    [("absent.xlsx", "there is no such file"), ("folder.xlsx", "a directory"), ("a\0b.xlsx", "reached")],
)
def test_a_path_without_a_file_is_refused(tmp_path, name, cause):
    (tmp_path / "folder.xlsx").mkdir()
    with pytest.raises(WorkbookError, match=cause) as caught:
        read_sheet(tmp_path / name)
    assert name in str(caught.value)


def test_a_pipe_is_refused_before_it_blocks(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(WorkbookError, match="not a regular file"):
        read_sheet(tmp_path / "a.csv")


def test_a_workbook_under_the_suffix_of_another_kind_is_refused(tmp_path):
    ods_as_xlsx, xlsx_as_ods = tmp_path / "o.xlsx", tmp_path / "x.ods"
    ods_as_xlsx.write_bytes(small_ods(tmp_path).read_bytes())
    xlsx_as_ods.write_bytes(small_xlsx(tmp_path).read_bytes())
    with pytest.raises(
        WorkbookError, match=r"the name says \.xlsx, but the content is an OpenDocument spreadsheet"
    ):
        read_sheet(ods_as_xlsx)
    with pytest.raises(WorkbookError, match=r"the name says \.ods, but the content is an Excel workbook"):
        read_sheet(xlsx_as_ods)
    binary = repack(small_xlsx(tmp_path), tmp_path / "b.xlsx", {"xl/workbook.bin": b"x"})
    with pytest.raises(WorkbookError, match=r"a binary Excel workbook \(\.xlsb\)"):
        read_sheet(binary)


def test_an_encrypted_ods_is_refused(tmp_path):
    manifest = (
        b'<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        b'<manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/>'
        b"</manifest:file-entry></manifest:manifest>"
    )
    path = repack(
        small_ods(tmp_path), tmp_path / "a.ods", {"META-INF/manifest.xml": manifest, "content.xml": b"\x93"}
    )
    with pytest.raises(WorkbookError, match=r"^a\.ods: the workbook is encrypted"):
        read_sheet(path)


def test_a_zip_with_a_password_is_refused(tmp_path):
    content = bytearray(small_xlsx(tmp_path).read_bytes())
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags_at] |= 1
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(WorkbookError, match=r"^a\.xlsx: the workbook is encrypted"):
        read_sheet(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("bounds", "cause"),
    [
        (WorkbookBounds(file_bytes=1000), "the file has 0 MiB, at most 0 MiB"),
        (WorkbookBounds(unpacked_bytes=1000), "unpacks to 0 MiB, at most 0 MiB"),
        (WorkbookBounds(zip_entries=3), "parts, at most 3 are read"),
        (WorkbookBounds(cells=3), "its filled cells reach to row 2 and column number 2"),
    ],
)
def test_a_workbook_beyond_a_bound_is_refused(tmp_path, bounds, cause):
    path = small_xlsx(tmp_path)
    with pytest.raises(WorkbookError, match=cause):
        read_sheet(path, bounds=bounds)
    assert list(read_sheet(path).rows[1]) == ["A-1", "KSB"]


def test_a_workbook_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    path = repack(small_xlsx(tmp_path), tmp_path / "a.xlsx", {"xl/media/image1.bmp": bytes(40 * 2**20)})
    with pytest.raises(
        WorkbookError, match=r"^a\.xlsx: the file unpacks to more than 250 times its size \(40 MiB\)"
    ):
        read_sheet(path)


def test_a_workbook_whose_directory_understates_its_parts_is_refused(tmp_path):
    # Size and checksum are those of the beginning, so that a reader that trusts the directory finds no fault.
    large = b"<worksheet>" + b" " * (5 * 2**20) + b"</worksheet>"
    path = repack(small_xlsx(tmp_path), tmp_path / "a.xlsx", {"xl/worksheets/sheet1.xml": large})
    content = bytearray(path.read_bytes())
    lie = struct.pack("<I", zlib.crc32(large[:1000]))
    name = b"xl/worksheets/sheet1.xml"
    local, central = content.index(name) - 30, content.rindex(name) - 46
    content[local + 14 : local + 18] = content[central + 16 : central + 20] = lie
    content[local + 22 : local + 26] = content[central + 24 : central + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(WorkbookError, match=r"sheet1\.xml' is larger than the file's directory says"):
        read_sheet(path)


def test_a_single_stray_cell_in_the_last_corner_is_refused_before_it_takes_all_memory(tmp_path):
    book = openpyxl.Workbook()
    cells = book.worksheets[0]
    cells["A1"], cells["A2"], cells["XFD1048576"] = "Asset ID", "A-1", "oops"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(WorkbookError, match=r"row 1,048,576 and column number 16,384.*clear the stray cells"):
        read_sheet(tmp_path / "a.xlsx")


@pytest.mark.parametrize("bytes_before_the_border", [1, 10, 20])
def test_a_stray_cell_is_seen_across_the_border_of_two_reads(tmp_path, bytes_before_the_border):
    start, cell = b"<worksheet><sheetData><row>", b'<c r="XFD1048576" t="inlineStr"><is><t>oops</t></is></c>'
    padding = b" " * (2**20 - len(start) - bytes_before_the_border)
    sheet = start + padding + cell + b"</row></sheetData></worksheet>"
    path = repack(small_xlsx(tmp_path), tmp_path / "a.xlsx", {"xl/worksheets/sheet1.xml": sheet})
    with pytest.raises(WorkbookError, match="clear the stray cells"):
        read_sheet(path)


def test_a_format_without_content_in_the_last_corner_is_no_stray_cell(tmp_path):
    book = openpyxl.Workbook()
    cells = book.worksheets[0]
    cells["A1"], cells["A2"] = "Asset ID", "A-1"
    cells["XFD1048576"].number_format = "0.00"
    book.save(tmp_path / "a.xlsx")
    assert len(read_sheet(tmp_path / "a.xlsx").rows) == 2


def test_cells_of_an_ods_that_repeat_beyond_the_bound_are_refused(tmp_path):
    source = small_ods(tmp_path)
    with zipfile.ZipFile(source) as archive:
        content = archive.read("content.xml")
    content = content.replace(b"<table:table-row>", b'<table:table-row table:number-rows-repeated="1000">')
    path = repack(source, tmp_path / "a.ods", {"content.xml": content})
    assert len(read_sheet(path).rows) == 2000
    with pytest.raises(WorkbookError, match=r"^a\.ods: sheet 'Sheet1': its filled cells reach to row 2,000"):
        read_sheet(path, bounds=WorkbookBounds(cells=3999))


def test_a_workbook_without_sheets_is_refused(tmp_path):
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    book = f'<workbook xmlns="{main}"><sheets></sheets></workbook>'.encode()
    path = repack(small_xlsx(tmp_path), tmp_path / "a.xlsx", {"xl/workbook.xml": book})
    with pytest.raises(WorkbookError, match=r"^a\.xlsx: the workbook has no worksheet"):
        read_sheet(path)


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml"])
def test_a_workbook_with_a_broken_part_is_refused(tmp_path, part):
    path = repack(
        small_xlsx(tmp_path), tmp_path / "a.xlsx", {part: b"<worksheet><sheetData><row><c t='s'><v>9</v>"}
    )
    with pytest.raises(WorkbookError, match=r"^a\.xlsx: "):
        read_sheet(path)


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b"</table:table>", b"</table:other>"),
        (b"</table:table></office:spreadsheet>", b""),
        (b"UTF-8", b"UTM-8"),
        (b"<office:document-content", b"<!DOCTYPE x [<!ENTITY a 'b'>]><office:document-content"),
    ],
)
def test_an_ods_with_broken_xml_is_refused_instead_of_read_for_ever(tmp_path, found, put):
    source = small_ods(tmp_path)
    with zipfile.ZipFile(source) as archive:
        content = archive.read("content.xml")
    assert found in content
    path = repack(source, tmp_path / "a.ods", {"content.xml": content.replace(found, put)})
    with pytest.raises(WorkbookError, match=r"^a\.ods: the file is damaged"):
        read_sheet(path)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
ENTITIES = {
    "billion laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>',
    "a file": '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/hostname">]>',
    "another host": '<!DOCTYPE x [<!ENTITY l9 SYSTEM "http://127.0.0.1:9/never">]>',
    "a definition elsewhere": '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/never.dtd">',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"])
@pytest.mark.parametrize("entities", ENTITIES.values(), ids=ENTITIES)
def test_an_xlsx_with_entities_is_refused(tmp_path, entities, part, encoding):
    source = small_xlsx(tmp_path)
    with zipfile.ZipFile(source) as archive:
        content = archive.read(part).decode("utf-8-sig")
    declaration, found, rest = content.partition("?>")
    if not found:
        declaration, rest = '<?xml version="1.0"', content
    hostile = f"{declaration.replace('UTF-8', encoding)}?>{entities}{rest.replace('Asset ID', '&l9;')}"
    path = repack(source, tmp_path / "a.xlsx", {part: hostile.encode(encoding)})
    with pytest.raises(WorkbookError, match=r"^a\.xlsx: the file is damaged.*document type"):
        read_sheet(path)


@pytest.mark.parametrize("kind", ["xlsx", "ods", "xls", "csv"])
def test_a_damaged_file_is_read_or_refused_and_never_crashes(tmp_path, kind):
    contents = {
        "xlsx": lambda: small_xlsx(tmp_path).read_bytes(),
        "ods": lambda: small_ods(tmp_path).read_bytes(),
        "xls": lambda: xls_workbook("S", [["Asset ID", "Make"], ["A-1", 5.0]]),
        "csv": lambda: b'Asset ID,Make\nA-1,"K,SB"\n',
    }
    good = contents[kind]()
    chance = random.Random(20240612)
    path = tmp_path / f"damaged.{kind}"
    messages: list[str] = []
    for _ in range(60):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice([len(good), chance.randrange(1, len(good))])])
        try:
            read_sheet(path)
        except WorkbookError as error:
            messages.append(str(error))
    assert messages
    assert all(message.startswith(path.name) for message in messages)
