"""The commands of the source Maximo: innomaint maximo."""
