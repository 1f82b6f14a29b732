"""`towpath clusters`: shows the clusters on which jobs can run."""

from ..options import AsJson, api
from ..output import Row, key, print_json, print_table


def clusters(as_json: AsJson = False) -> None:
    """Show the clusters, with the labels by which jobs choose them."""
    found = api().get("/clusters")
    if as_json:
        print_json(found)
        return
    columns = [("cluster", key("name")), ("labels", _labels), ("last seen", key("seen_at"))]
    print_table(found["items"], columns, "no clusters: no executor has registered one")


def _labels(row: Row) -> str:
    return ", ".join(f"{name}={value}" for name, value in row["labels"].items())
