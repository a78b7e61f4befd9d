"""The separate module that makes weights. Imports model, never service."""
