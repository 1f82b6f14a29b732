"""The page of an event: what happened, and for each pipeline why it ran or not."""

from aiohttp import web

from services.gateway.web.asking import ask
from services.gateway.web.pages import Page, Visit


async def show(visit: Visit) -> web.Response:
    event = (await ask(visit, "GET /events/{id}", id=visit.id)).json
    return visit.page("event.html", event=event)


PAGES = (Page(path="/ui/events/{id}", handler=show),)
