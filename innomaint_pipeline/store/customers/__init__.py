"""What PostgreSQL holds of the customer list: customers, lists, runs, quarantine."""
