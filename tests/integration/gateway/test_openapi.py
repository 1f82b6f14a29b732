"""The OpenAPI document has every route, and its page loads nothing from another server."""

from services.gateway.routes import ROUTES
from tests.integration.gateway.serving import Serving


async def test_the_document_holds_every_route(served: Serving) -> None:
    answer = (await served.anonymous.get("/openapi.json")).expect(200)
    document = answer.json
    assert {(method.upper(), path) for path, methods in document["paths"].items() for method in methods} == {
        (route.method, route.path) for route in ROUTES
    }


async def test_the_page_comes_from_here_alone(served: Serving) -> None:
    page = (await served.anonymous.get("/docs")).expect(200)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "https://" not in page.text.replace("https://towpath", "")
    if "swagger-ui-bundle.js" in page.text:
        (await served.anonymous.get("/assets/swagger-ui-bundle.js")).expect(200)
        (await served.anonymous.get("/assets/docs.js")).expect(200)
    else:
        assert "make assets" in page.text
