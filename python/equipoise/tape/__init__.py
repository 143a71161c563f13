"""Readers of recorded market data, and the seeded market generator."""
