"""What is measured, and what its datasheet says: detection, spec sheets, software, telemetry."""
