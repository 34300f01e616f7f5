"""Read frames from files, webcams and network addresses."""
