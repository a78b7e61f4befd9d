"""The studio: a page for people, at ``/``. Plain files; what the page shows comes from the routes that anybody uses."""

from service.studio.page import Studio

__all__ = ["Studio"]
