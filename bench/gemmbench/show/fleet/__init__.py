"""A report on a fleet: tables, pictures, one HTML page."""
