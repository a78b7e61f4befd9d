"""This service beside LitServe and BentoML: see ``__main__.py``, ``python -m benchmarks.serving --help``."""
