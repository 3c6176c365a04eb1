"""A search service without its web side: an index held open, decoding and encoding elsewhere, decisions."""
