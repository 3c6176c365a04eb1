"""What a person or a schedule starts: the pipeline and the command line."""
