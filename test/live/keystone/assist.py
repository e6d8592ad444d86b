"""Asks for assisted snapshots with Cinder's own code and its own configuration.

usage: assist.py, then one request a line: CINDER_CONF create|delete VOLUME SNAPSHOT. Answers each
with a line of JSON: null, or what Cinder would write into its log.
"""

import itertools
import json
import os
import sys

from cinder import context, objects
from cinder.common import config  # noqa: registers auth_strategy
from cinder.compute import nova


def ask(conf, requests):
    config.CONF(["--config-file", conf], project="cinder")
    objects.register_all()
    api = nova.API()
    for verb, volume, snapshot in requests:
        request = context.get_admin_context()
        file = f"volume-{volume}"
        try:
            if verb == "create":
                info = {"type": "qcow2", "snapshot_id": snapshot, "new_file": f"{file}.{snapshot}"}
                api.create_volume_snapshot(request, volume, info)
            else:
                info = {"type": "qcow2", "volume_id": volume, "file_to_merge": file,
                        "merge_target_file": None}
                api.delete_volume_snapshot(request, snapshot, info)
            said = None
        except Exception as error:
            said = {"code": getattr(error, "code", None) or getattr(error, "http_status", None),
                    "words": str(error)}
        print(json.dumps(said), flush=True)


# The options of one plugin stay registered, and are in the way of another's: a process for each.
lines = [line.split() for line in sys.stdin]
for conf, requests in itertools.groupby(lines, key=lambda words: words[0]):
    child = os.fork()
    if child == 0:
        ask(conf, [words[1:] for words in requests])
        os._exit(0)
    os.waitpid(child, 0)
