"""The embedded PostgreSQL: `embedded_postgres` runs it, `join` shares it, `find_running` looks for it."""
