"""What the field's released codes do, written straightforwardly: the product's fast paths are timed against
it and tested with it.
"""
