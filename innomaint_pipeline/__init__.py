"""Keeps the IC3 asset tables in step with the Innomaint CMMS.

The layers, in the order in which the data flows; an arrow means "may import":

    crash_points <- store, sync
    errors, setting_types <- settings
    errors <- domain <- sources, store <- sync <- defs <- definitions <- cli
    settings, setting_types, domain, store <- api <- cli

`domain` is pure: what the data means. `sources` reads the outside world. `store` owns PostgreSQL. `sync` is
one run without Dagster. `defs` is Dagster, thin. `embedded` starts the bundled PostgreSQL, `simulator` is an
invented Innomaint for the demonstration and the tests. `crash_points` names the moments at which tests kill
the process. `test_architecture.py` in the tests enforces the arrows.
"""
