"""Scripts a user copies."""
