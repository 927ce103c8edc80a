"""The fault laboratory: random histories, real servers, something broken on purpose, and what must hold."""
