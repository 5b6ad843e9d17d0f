"""Importing the asset master from a workbook."""
