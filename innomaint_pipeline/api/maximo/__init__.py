"""What the admin service answers about the source Maximo."""
