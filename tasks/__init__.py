"""One Prefect task a step of the pipeline: read parameters and paths, call the library, log, write
outputs.
"""
