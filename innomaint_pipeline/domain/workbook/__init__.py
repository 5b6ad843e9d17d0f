"""What the asset master of a workbook means: its cells, its headers, its rows."""
