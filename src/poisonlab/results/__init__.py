"""Tables of victims, files and the archive."""
