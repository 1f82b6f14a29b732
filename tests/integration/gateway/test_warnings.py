"""Warnings about names in a pipeline that stand for no usable repository.

They are returned when the pipeline is checked and when it is saved.
"""

from typing import Any

import pytest

from tests.harness.client import Client
from tests.integration.gateway.serving import PIPELINE, Serving


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


class Owner:
    """A user who is maintainer of octo-<n>/web and viewer of octo-<n>/other."""

    def __init__(self, served: Serving, user_id: int, client: Client) -> None:
        self.served, self.user_id, self.client = served, user_id, client
        self.forge_owner = f"octo-{user_id}"

    async def settle(self) -> "Owner":
        for name, role in (("web", "maintainer"), ("other", "viewer")):
            repository = await self.served.repository(f"{self.forge_owner}/{name}")
            (
                await self.served.admin.put(
                    f"/repositories/{repository['id']}/grants/{self.user_id}", {"role": role}
                )
            ).expect(200)
        return self

    def yaml(self, *names: str) -> str:
        return PIPELINE.format(repository=[f"{self.forge_owner}/{name}" for name in names])


@pytest.fixture
async def owner(served: Serving) -> Owner:
    return await Owner(served, *await served.person()).settle()


def told(answer: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(fault["path"], fault["code"], fault["hint"]) for fault in answer["warnings"]]


@pytest.mark.parametrize("names", [("web",), ("WEB",), ("*",), ("w?b", "web")])
async def test_what_names_an_own_repository_is_not_warned_of(owner: Owner, names: tuple[str, ...]) -> None:
    answer = (
        (await owner.client.post("/pipelines/validate", {"yaml_config": owner.yaml(*names)})).expect(200).json
    )
    assert (answer["valid"], answer["warnings"]) == (True, [])


async def test_each_name_and_glob_that_stands_for_none_is_warned_of(owner: Owner) -> None:
    answer = (
        (
            await owner.client.post(
                "/pipelines/validate", {"yaml_config": owner.yaml("web", "webb", "o*", "other")}
            )
        )
        .expect(200)
        .json
    )
    assert answer["valid"] is True
    assert [(path, code) for path, code, _ in told(answer)] == [
        (f"repository[{index}]", "no_such_repository") for index in (1, 2, 3)
    ]
    assert answer["warnings"][0]["hint"] == f"Did you mean {owner.forge_owner}/web?"


async def test_registered_or_not_is_no_difference_to_somebody_without_a_role(
    served: Serving, owner: Owner
) -> None:
    _, stranger = await served.person()
    answers = [
        (await stranger.post("/pipelines/validate", {"yaml_config": owner.yaml(name)})).json["warnings"]
        for name in ("web", "nil")
    ]
    messages = [
        warnings[0]["message"].replace(f"/{name}:", "/x:")
        for name, warnings in zip(("web", "nil"), answers, strict=True)
    ]
    assert messages[0] == messages[1]
    assert [warnings[0]["hint"] for warnings in answers] == [None, None]


async def test_an_administrator_may_use_every_registered_repository(served: Serving, owner: Owner) -> None:
    answer = (
        (await served.admin.post("/pipelines/validate", {"yaml_config": owner.yaml("other", "nil")}))
        .expect(200)
        .json
    )
    assert [path for path, _, _ in told(answer)] == ["repository[1]"]


async def test_a06_a_group_that_is_empty_for_a_trigger_is_warned_of(owner: Owner) -> None:
    group = "concurrency: { group: '${{ event.pull_request || event.branch }}', on_new: cancel_older }\n"
    text = owner.yaml("web") + group
    checked = (await owner.client.post("/pipelines/validate", {"yaml_config": text})).expect(200).json
    stored = (await owner.client.post("/pipelines", {"name": "tags", "yaml_config": text})).expect(201).json
    read = (await owner.client.get(f"/pipelines/{stored['id']}")).expect(200).json
    for answer in (checked, stored, read):
        assert [(path, code) for path, code, _ in told(answer)] == [("concurrency.group", "empty_expression")]
        assert "for pushed tags" in answer["warnings"][0]["message"]


async def test_a_save_is_warned_of_by_what_the_owner_may_use(served: Serving, owner: Owner) -> None:
    created = (
        (await owner.client.post("/pipelines", {"name": "ci", "yaml_config": owner.yaml("other")}))
        .expect(201)
        .json
    )
    assert [path for path, _, _ in told(created)] == ["repository"]
    path = f"/pipelines/{created['id']}"
    assert told(
        (await served.admin.put(path, {"yaml_config": owner.yaml("other", "web")})).expect(200).json
    ) == [("repository[0]", "no_such_repository", None)]
    assert len((await owner.client.put(path, {"description": "x"})).expect(200).json["warnings"]) == 1
    assert len((await owner.client.get(path)).expect(200).json["warnings"]) == 1
    (await owner.client.put(path, {"yaml_config": owner.yaml("web")})).expect(200)
    assert (await owner.client.get(path)).expect(200).json["warnings"] == []
