"""The tables of the source Innomaint, and the only statements that know them."""
