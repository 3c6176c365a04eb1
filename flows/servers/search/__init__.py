"""The search service's web side: `ssvh serve`."""
