"""Small programs that find out what a device and a method of measuring can do."""
