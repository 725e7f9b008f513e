"""The HTML representation of the resources: templates, one style sheet, and the headers that keep pages safe."""

from broker.web.pages import HTML, page
from broker.web.problem import problem_page
from broker.web.static import static

__all__ = ["HTML", "page", "problem_page", "static"]
