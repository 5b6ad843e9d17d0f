"""What the source Maximo keeps in PostgreSQL: the schema `maximo`."""
