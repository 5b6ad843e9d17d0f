"""`python -m innomaint_pipeline.cli`: the command line, for processes that start others of their kind."""

from innomaint_pipeline.cli.main import main

if __name__ == "__main__":
    main()
