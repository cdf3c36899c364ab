"""The responses that carry nothing but their status."""

from objstore.api.pages import error_page
from objstore.api.reply import Reply

EMPTY_HTML = ("Content-Type", "text/html; charset=UTF-8")
"""What Swift's answers without a body say of it; clients and tests read it."""


def accepted() -> Reply:
    """202"""
    return error_page(202)
