"""Programs for those who change the code."""
