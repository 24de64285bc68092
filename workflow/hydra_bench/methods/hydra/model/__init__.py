"""What is learned: fields, encoder and the tables of the particles, and maps rendered from fields. No training here."""
