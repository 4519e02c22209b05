"""The top floor: the `tandem` command and the pipeline of stages."""
