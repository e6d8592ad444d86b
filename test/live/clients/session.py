"""A session of Debian's keystoneauth1 and novaclient with a compute service, as it is typed and told.

usage: session.py, then one JSON object: {"plugin": NAME, "options": {...}, "calls": [[METHOD, ...]]}.
Prints a transcript; the last line is JSON: of each call null, or the code and words of its exception.
"""

import json
import sys

from keystoneauth1 import adapter, loading, session
from novaclient import client

asked = json.load(sys.stdin)
auth = loading.get_plugin_loader(asked["plugin"]).load_from_options(**asked["options"])
session = session.Session(auth=auth)
nova = client.Client("2.1", session=session, endpoint_type="public")
compute = adapter.Adapter(session, service_type="compute", interface="public",
                          min_version="2.1", max_version="2.latest")
hidden = {"password": "***"}
shown = ", ".join(f"{name}={hidden.get(name, value)!r}" for name, value in asked["options"].items())
print(f">>> auth = {asked['plugin']}({shown})")
print(">>> session = keystoneauth1.session.Session(auth=auth)")
print(">>> nova = novaclient.client.Client('2.1', session=session)")


def discover():
    found = compute.get_endpoint_data()
    return f"{found.url} {found.api_version} to {found.max_microversion}"


calls = {
    "discover": discover,
    "create": lambda volume, info: nova.assisted_volume_snapshots.create(volume, info),
    "delete": lambda snapshot, info: nova.assisted_volume_snapshots.delete(snapshot, info),
}
words = {
    "discover": "Adapter(session, service_type='compute', min_version='2.1').get_endpoint_data",
    "create": "nova.assisted_volume_snapshots.create",
    "delete": "nova.assisted_volume_snapshots.delete",
}
results = []
for name, *arguments in asked["calls"]:
    print(f">>> {words[name]}({', '.join(map(repr, arguments))})")
    try:
        print(repr(calls[name](*arguments)))
        results.append(None)
    except Exception as error:
        print(f"{type(error).__module__}.{type(error).__name__}: {error}")
        code = getattr(error, "code", None) or getattr(error, "http_status", None)
        results.append({"code": code, "words": str(error)})
print(json.dumps(results))
