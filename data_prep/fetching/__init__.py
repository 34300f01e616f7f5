"""Official archives, fetched and unpacked."""
