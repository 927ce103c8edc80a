"""Many targets at a time: a process for each, its plan run and its truth brought back."""
