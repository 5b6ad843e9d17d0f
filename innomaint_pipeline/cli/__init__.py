"""The command line `innomaint` (docs/commands.md): thin entry points.

`main` declares the commands and maps errors to exit codes. Dagster is imported only by the commands that
start runs, so that `innomaint status` starts at once.
"""
