"""The admin service: HTTP for programs, and for the page `/sync`.

Belongs here: who may ask, what may be asked, and how answers look. It reads the store and starts work by
storing requests, which Dagster's sensor `requested_work` carries out; it knows neither SQL nor Dagster.
"""
