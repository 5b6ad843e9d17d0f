"""Programs that load every answer into PostgreSQL, side by side: ours, dlt, and a plain loop.

Each runs as a process of its own, `python <file> API_URL DATABASE_URL SERIALS_FILE`, and prints one JSON
object: `assets`, and `seconds` without starting Python and importing libraries.
"""
