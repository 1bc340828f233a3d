"""What spoils measurements on this machine, and how to mend each."""
