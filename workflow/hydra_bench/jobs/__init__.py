"""How a method's job is run: its devices, its account of attempts, and what is checked before it starts."""
