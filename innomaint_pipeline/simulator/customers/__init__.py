"""The simulated customer list: invented customers, drawn as the ERP prints its list, with scripted faults."""
