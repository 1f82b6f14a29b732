"""The installation over HTTP: its clusters, its audit log, and previews of pipelines."""

from tests.harness.coverage import covers
from tests.harness.installation import Towpath
from tests.harness.scenes import TRUE, scene
from tests.harness.waiting import until


@covers("GET /clusters 200")
async def test_the_cluster_of_the_executor_is_registered(towpath: Towpath) -> None:
    async def registered() -> bool:
        found = (await towpath.admin.get("/clusters")).expect(200).json["items"]
        return [(cluster["name"], cluster["labels"]) for cluster in found] == [("local", {})]

    await until(registered, within=30, what="the cluster")


@covers("GET /audit 200")
async def test_an_administrator_sees_who_changed_what(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    query = f"/audit?user_id={one.person.id}&action=pipeline"
    entries = (await towpath.admin.get(query)).expect(200).json["items"]
    assert [entry["action"] for entry in entries] == ["pipeline.created"]
    assert entries[0]["object"] == f"pipeline:{one.pipeline['id']}"


@covers("POST /pipelines/preview 200", "POST /pipelines/{id}/preview 200")
async def test_a_preview_shows_what_events_would_start_under_another_yaml(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    run = await one.ran()
    yaml = one.pipeline["yaml_config"]
    for path in ("/pipelines/preview", f"/pipelines/{one.pipeline['id']}/preview"):
        answer = (await one.person.client.post(path, {"yaml_config": yaml})).expect(200)
        (shown,) = answer.json["items"]
        assert (shown["event_id"], shown["would_be"]["outcome"]) == (run["event_id"], "run")
        assert [job["key"] for job in shown["would_be"]["jobs"]] == [job["key"] for job in run["jobs"]]
