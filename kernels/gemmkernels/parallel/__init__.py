"""Products and collectives of several processes, a device each: one kernel a file."""
