"""Service accounts for tests, with the rights that `deploy/k8s` gives to a service."""

from pathlib import Path

import yaml

from shared.kubernetes.client import KubernetesApi, Object

_ACCESS = Path(__file__).parents[2] / "deploy" / "k8s" / "base" / "builds" / "access.yaml"


async def identity(api: KubernetesApi, namespace: str, service: str, admin: str) -> str:
    """Create a service account in this namespace and return the text of a kubeconfig for it.

    The account has the rights in this namespace that the deployed service has in its own, and no others.
    `admin` is the text of the kubeconfig of a user who may grant rights.
    """
    core, rbac = (
        f"/api/v1/namespaces/{namespace}",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}",
    )
    await api.post(f"{core}/serviceaccounts", {"metadata": {"name": service}})
    rules = next(
        found["rules"]
        for found in _documents()
        if found["kind"] == "Role" and found["metadata"]["name"] == f"towpath-{service}"
    )
    await api.post(f"{rbac}/roles", {"metadata": {"name": service}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": service, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": service}
    await api.post(
        f"{rbac}/rolebindings", {"metadata": {"name": service}, "subjects": [subject], "roleRef": role}
    )
    wanted = {"spec": {"expirationSeconds": 7200}}
    token = (await api.post(f"{core}/serviceaccounts/{service}/token", wanted))["status"]["token"]
    config = yaml.safe_load(admin)
    name = config["current-context"]
    context = next(found for found in config["contexts"] if found["name"] == name)["context"]
    cluster = next(found for found in config["clusters"] if found["name"] == context["cluster"])
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": service, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": cluster["name"], "user": service}}],
            "current-context": name,
        }
    )


def _documents() -> list[Object]:
    return [found for found in yaml.safe_load_all(_ACCESS.read_text()) if found]
