"""What a person or a schedule starts: the pipeline and the command line."""

import gc

# By itself Python looks for garbage after every 700 new objects, which is a fifth of the time that importing
# Prefect and MLflow takes.
gc.set_threshold(50_000, 20, 20)
