"""Wall-clock benches with their peers, interleaved in one run. `python -m benches` runs all of them."""

__all__: list[str] = []
