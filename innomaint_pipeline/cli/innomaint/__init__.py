"""The commands of the source Innomaint."""
