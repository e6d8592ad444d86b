# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""A filter that teaches a stock Cinder what its compute side knows.

os-update_snapshot_status of the never finished spec volume-snapshot-
improvements has two more statuses and the formats of the files that a
snapshot changed. This filter takes both: it keeps the formats with the volume,
as admin metadata, under the names that later Cinders use, and hands on what a
stock Cinder understands. Into api-paste.ini:

    [filter:chainkeeper]
    paste.filter_factory = chainkeeper_api:SnapshotStatus.factory

and `chainkeeper` into the pipelines of openstack_volume_api_v3, right before
apiv3.

A volume's admin metadata then says:

    format       the format of the file that the guest writes to; the API
                 shows it as the format of each attachment
    base_format  the format of the file below all snapshots
"""

import re

from oslo_log import log as logging
from oslo_serialization import jsonutils
import webob
import webob.dec
import webob.exc

from cinder.api.openstack import wsgi
from cinder import exception
from cinder.i18n import _
from cinder import objects
from cinder.policies import snapshot_actions as policy

LOG = logging.getLogger(__name__)

ACTION = 'os-update_snapshot_status'
PATH = re.compile(r'/snapshots/([^/]+)/action/?$')

# What the compute side says when its part is done, and what it is said of.
COMPUTE_COMPLETE = {
    'creating_compute_complete': 'creating',
    'deleting_compute_complete': 'deleting',
}

# libvirt's names of the formats in which Cinder's drivers keep volumes.
FORMATS = frozenset(('raw', 'qcow2', 'vpc', 'vhdx', 'vmdk', 'vdi', 'parallels',
                     'ploop', 'luks'))


def bad_request(explanation):
    return wsgi.Fault(webob.exc.HTTPBadRequest(explanation=explanation))


class SnapshotStatus(object):
    """Takes file_format and the two new statuses."""

    def __init__(self, app):
        self.app = app

    @classmethod
    def factory(cls, _global_conf, **_local_conf):
        return cls

    @webob.dec.wsgify
    def __call__(self, request):
        found = PATH.search(request.path_info)
        words = _words(request) if found and request.method == 'POST' else None
        context = request.environ.get('cinder.context')
        if words is None or context is None:
            return self.app
        known = {key: value for key, value in words.items()
                 if key != 'file_format'}
        status = words.get('status')
        stock = COMPUTE_COMPLETE.get(status, status)
        formats = words.get('file_format')
        if formats is None and stock == status:
            return self.app
        try:
            self._keep(context, found.group(1), status, stock, formats)
        except exception.SnapshotNotFound:
            pass  # Cinder has its own words for that
        known['status'] = stock
        request.body = jsonutils.dump_as_bytes({ACTION: known})
        return self.app

    @staticmethod
    def _keep(context, snapshot_id, status, stock, formats):
        snapshot = objects.Snapshot.get_by_id(context, snapshot_id)
        # Cinder asks the same before it changes the status; by then the
        # formats would have been believed.
        context.authorize(policy.UPDATE_STATUS_POLICY, target_obj=snapshot)
        if snapshot.status != stock and status in COMPUTE_COMPLETE:
            raise bad_request(_(
                "Provided snapshot status %(provided)s not allowed for "
                "snapshot with status %(current)s.") %
                {'provided': status, 'current': snapshot.status})
        if formats is None:
            return
        volume = objects.Volume.get_by_id(context.elevated(),
                                          snapshot.volume_id)
        _check(formats, volume.name)
        metadata = _learnt(volume, snapshot, formats)
        if metadata:
            LOG.info("Volume %(id)s: %(metadata)s, as its compute host "
                     "reports", {'id': volume.id, 'metadata': metadata})
            volume.admin_metadata_update(metadata, False)


def _words(request):
    """What is said of the snapshot's status; None when nothing is."""
    try:
        body = jsonutils.loads(request.body)
    except ValueError:
        return None
    words = body.get(ACTION) if isinstance(body, dict) else None
    return words if isinstance(words, dict) and len(body) == 1 else None


def _check(formats, volume_name):
    """Bare names of this volume's own files, each with a format we know."""
    if not isinstance(formats, dict):
        raise bad_request(_("file_format must be an object."))
    for name, fmt in formats.items():
        own = name == volume_name or name.startswith(volume_name + '.')
        if not own or '/' in name or len(name) > 255:
            raise bad_request(_("%(name)s is no file of %(volume)s.") %
                              {'name': name[:255], 'volume': volume_name})
        if fmt not in FORMATS:
            raise bad_request(_("The format of %(name)s is not one of "
                                "%(known)s.") %
                              {'name': name,
                               'known': ', '.join(sorted(FORMATS))})


def _learnt(volume, snapshot, formats):
    """What of it is kept: of the active file, and of the one below all."""
    metadata = {}
    had = volume.admin_metadata or {}
    attachments = volume.volume_attachment or []
    infos = [one.connection_info or {} for one in attachments]
    attached = next((info['name'] for info in infos if 'name' in info), None)
    if snapshot.status == 'creating':
        active = '%s.%s' % (volume.name, snapshot.id)
        # The attachment has the old name until Cinder has heard of it. With
        # snapshots that are older than this filter, `format` is an overlay's.
        first = attached == volume.name and 'base_format' not in had
        if active in formats and first and 'format' in had:
            metadata['base_format'] = had['format']
    else:
        active = attached
    if volume.name in formats:
        metadata['base_format'] = formats[volume.name]
    if active in formats:
        metadata['format'] = formats[active]
    return metadata
