"""What the asset master of a workbook means: its cells, its headers, its rows."""

SOURCE = "workbook"
"""The name of this source: of its settings and its conditions."""
