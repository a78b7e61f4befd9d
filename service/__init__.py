"""The HTTP service: turns a request into a face. Imports ``model``, never ``training``."""
