"""A single sheet of a workbook, parsed: most tests have no more."""

from collections.abc import Mapping

from innomaint_pipeline.domain.workbook.register import ParsedSheet, parse_sheets
from innomaint_pipeline.domain.workbook.sheets import SheetRows


def parse_sheet(sheet: SheetRows, synonyms: Mapping[str, str] | None = None) -> ParsedSheet:
    (parsed,) = parse_sheets([sheet], synonyms or {})
    return parsed
