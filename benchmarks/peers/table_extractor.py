"""The tables of the first pages of a PDF as pdfplumber finds them: `table_extractor.py PDF PAGES`.

Runs in .venv-bench, without the package. Prints seconds and rows as JSON.
"""

import json
import sys
import time

import pdfplumber


def main() -> None:
    path, pages = sys.argv[1], int(sys.argv[2])
    began = time.perf_counter()
    rows = 0
    with pdfplumber.open(path) as pdf:
        for page in pdf.pages[:pages]:
            rows += sum(map(len, page.extract_tables()))
            page.close()
    print(json.dumps({"seconds": time.perf_counter() - began, "rows": rows}))


if __name__ == "__main__":
    main()
