"""The page at `/`: its files, and the API that they read."""

from http import HTTPStatus
from importlib.resources import files

from consumer.observe.answer import Answer
from consumer.observe.api import Api

API = "/api/v1"

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/views.js": ("views.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/text.js": ("text.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path, file in the package, and content type; nothing else can be asked for."""

SECURITY = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Nothing from elsewhere is loaded, nothing inline is run, and no other site may show or read it."""


class Site:
    """Page and API; reads the page's files once.

    Args:
        api: the answers below `/api/v1`.
    """

    paths = ("/", f"{API}/streams", f"{API}/streams/<id>", f"{API}/worker")
    """What people ask for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        folder = files("consumer.observe") / "page"
        self._files = {
            path: Answer(
                HTTPStatus.OK,
                (folder / name).read_bytes(),
                (("Content-Type", kind), ("Cache-Control", "no-cache"), *SECURITY),
            )
            for path, (name, kind) in FILES.items()
        }

    def has(self, path: str) -> bool:
        """Whether a path belongs to page or API."""
        return path in self._files or path.startswith(f"{API}/")

    def answer(self, path: str, query: str, accept_encoding: str) -> Answer:
        """Answer a request for one of its paths."""
        if path in self._files:
            return self._files[path].packed(accept_encoding)
        answer = self._api.answer(path.removeprefix(API), query, accept_encoding)
        return answer._replace(headers=(*answer.headers, ("Cache-Control", "no-store"), *SECURITY))
