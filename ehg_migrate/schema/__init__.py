"""What a schema really is: its catalogue, the fingerprint of it, and what separates two of them."""
