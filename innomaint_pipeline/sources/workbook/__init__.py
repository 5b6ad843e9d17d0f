"""Reading a workbook file: its container within bounds, its sheet as rows of cells."""
