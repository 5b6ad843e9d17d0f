"""The simulated Innomaint: an invented utility behind the vendor's endpoint, with scripted faults."""
