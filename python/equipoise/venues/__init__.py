"""Exchange I/O: the venue contract, the paper venue, live adapters."""
