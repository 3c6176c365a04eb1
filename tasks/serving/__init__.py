"""A search service without its web side: an index held open, clips decoded and encoded in other processes, decisions kept."""
