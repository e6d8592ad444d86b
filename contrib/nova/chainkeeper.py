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

"""Nova's libvirt driver, with the snapshots of volumes left to chainkeeper.

Put this file beside the others in nova/virt, and into nova.conf:

    [DEFAULT]
    compute_driver = chainkeeper.LibvirtDriver

What Cinder asks of Nova is handed to the chainkeeper on the same host, over
its unix socket. It changes the chain and tells Cinder; then Nova refreshes its
own copy of the attachment, as ever, so that the next start of the instance
finds the file that it writes to. Without chainkeeper the request fails, and
Cinder hears so: nothing is done the old way behind anybody's back.
"""

import http.client
import socket
import time
import urllib.parse

from oslo_config import cfg
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_service import loopingcall

import nova.conf
from nova import exception
from nova import objects
from nova.i18n import _
from nova.virt.libvirt import driver
from nova.volume import cinder

LOG = logging.getLogger(__name__)

opts = [
    cfg.StrOpt('socket',
               default='/run/chainkeeper/chainkeeper.sock',
               help='The socket of the chainkeeper on this host.'),
    cfg.IntOpt('connect_timeout',
               default=30,
               min=0,
               help='For how many seconds a chainkeeper that is away, as in '
                    'a restart, is called again before a request fails.'),
    cfg.IntOpt('create_timeout',
               default=900,
               min=1,
               help='For how many seconds the end of a snapshot is waited '
                    'for. Cinder waits for 600.'),
    cfg.IntOpt('delete_timeout',
               default=86400,
               min=1,
               help='For how many seconds the end of a merge is waited for. '
                    'Cinder waits for 7200, and chainkeeper goes on.'),
]

CONF = nova.conf.CONF
CONF.register_opts(opts, group='chainkeeper')

# As long as one answer is waited for; chainkeeper allows 60.
LONG_POLL = 30
# The second is of a Cinder that knows chainkeeper's own word for its report.
CREATING = ('creating', 'creating_compute_complete')
# A socket that says nothing for longer than that is a dead one.
SILENCE = LONG_POLL + 15


class ChainkeeperAway(exception.NovaException):
    msg_fmt = _("chainkeeper does not answer on %(socket)s (%(reason)s): see "
                "'chainkeeper doctor' on this host.")


class ChainkeeperRefused(exception.NovaException):
    msg_fmt = _("chainkeeper: %(reason)s")


class LibvirtDriver(driver.LibvirtDriver):
    """LibvirtDriver whose volume snapshots are taken by chainkeeper."""

    def volume_snapshot_create(self, context, instance, volume_id,
                               create_info):
        """Make the overlay that Cinder has prepared the active layer.

        :param create_info: snapshot_id, type ('qcow2') and new_file, as
                            Cinder's file-backed drivers send them
        """
        self._only_qcow2(create_info)
        snapshot_id = create_info['snapshot_id']
        request = {'kind': 'create', 'volume': volume_id,
                   'snapshot': snapshot_id,
                   'new_file': create_info['new_file']}
        done = self._hand_over(context, instance, request, 'error',
                               CONF.chainkeeper.create_timeout)
        if done is None:
            return

        # Cinder writes down which file is in use after it has heard of it.
        def _wait_for_snapshot():
            snapshot = self._volume_api.get_snapshot(context, snapshot_id)
            if snapshot.get('status') not in CREATING:
                self._volume_refresh_connection_info(context, instance,
                                                     volume_id)
                raise loopingcall.LoopingCallDone()

        timer = loopingcall.FixedIntervalLoopingCall(_wait_for_snapshot)
        timer.start(interval=0.5).wait()

    def volume_snapshot_delete(self, context, instance, volume_id,
                               snapshot_id, delete_info):
        """Merge the layer of a snapshot away.

        :param delete_info: type ('qcow2'), file_to_merge and
                            merge_target_file
        """
        self._only_qcow2(delete_info)
        info = {key: delete_info.get(key) for key in
                ('file_to_merge', 'merge_target_file')}
        request = {'kind': 'delete', 'volume': volume_id,
                   'snapshot': snapshot_id, 'delete_info': info}
        done = self._hand_over(context, instance, request, 'error_deleting',
                               CONF.chainkeeper.delete_timeout)
        if done is not None:
            self._volume_refresh_connection_info(context, instance, volume_id)

    def _volume_refresh_connection_info(self, context, instance, volume_id):
        """Nova's own refresh, with the format that the file really has.

        Cinder 21 names the new file in its attachment and leaves the format
        of the old one beside it (remotefs.py, _create_snapshot): the next
        start would give the guest the bytes of a qcow2 file as its disk.
        """
        super(LibvirtDriver, self)._volume_refresh_connection_info(
            context, instance, volume_id)
        formats = self._formats(volume_id)
        bdm = objects.BlockDeviceMapping.get_by_volume_and_instance(
            context, volume_id, instance.uuid)
        info = jsonutils.loads(bdm.connection_info)
        data = info.get('data', {})
        known = formats.get(data.get('name'))
        if known is None or data.get('format') == known:
            return
        LOG.info('%(file)s of volume %(volume)s is %(known)s, not %(format)s '
                 'as Cinder has it',
                 {'file': data['name'], 'volume': volume_id, 'known': known,
                  'format': data.get('format')}, instance=instance)
        data['format'] = known
        bdm.connection_info = jsonutils.dumps(info)
        bdm.save()

    @staticmethod
    def _formats(volume_id):
        until = time.monotonic() + CONF.chainkeeper.connect_timeout
        path = '/v1/formats/%s' % urllib.parse.quote(volume_id, safe='')
        while True:
            try:
                status, answer = ask('GET', path)
                return answer['file_format'] if status == 200 else {}
            except (Unsent, OSError, http.client.HTTPException) as error:
                if time.monotonic() >= until:
                    raise ChainkeeperAway(socket=CONF.chainkeeper.socket,
                                          reason=error)
            time.sleep(1)

    @staticmethod
    def _only_qcow2(info):
        if info.get('type') != 'qcow2':
            raise exception.InternalError(
                _('Unknown type: %s') % info.get('type'))

    def _hand_over(self, context, instance, request, failed, timeout):
        """Asks for it and waits for its end; None when nothing was to do.

        Cinder hears from chainkeeper how it ended. Only of what never became
        an operation it hears from here.
        """
        snapshot_id = request['snapshot']
        try:
            operation = self._submit(context, request)
        except (ChainkeeperAway, ChainkeeperRefused) as error:
            LOG.error('Snapshot %(id)s: %(error)s',
                      {'id': snapshot_id, 'error': error}, instance=instance)
            self._tell_failed(context, snapshot_id, failed)
            raise
        if operation is None:
            LOG.warning('Cinder knows no snapshot %s: nothing to do',
                        snapshot_id, instance=instance)
            return None
        ended = self._wait_for(operation, timeout)
        if ended['outcome'] in ('created', 'merged'):
            return ended
        raise ChainkeeperRefused(reason=_(
            "operation %(id)s %(outcome)s: %(reason)s") % ended)

    def _submit(self, context, request):
        """The id of the operation; asked twice it is the same one."""
        until = time.monotonic() + CONF.chainkeeper.connect_timeout
        ids = {}
        if context is not None and context.global_id:
            ids['X-OpenStack-Request-ID'] = context.global_id
        sent = False
        while True:
            try:
                status, answer = ask('POST', '/v1/operations', request, ids)
            except Unsent as error:
                reason = error
            except (OSError, http.client.HTTPException) as error:
                # It may have been taken: only chainkeeper can tell.
                sent, reason = True, error
            else:
                if status == 202:
                    return answer['operation']
                raise ChainkeeperRefused(reason=answer['error']['message'])
            if time.monotonic() >= until:
                break
            time.sleep(1)
        away = {'socket': CONF.chainkeeper.socket, 'reason': reason}
        if not sent:
            raise ChainkeeperAway(**away)
        # Cinder hears from chainkeeper when that is back, or stops waiting.
        raise exception.InternalError(ChainkeeperAway(**away).format_message())

    @staticmethod
    def _wait_for(operation, timeout):
        """Its end. What is accepted goes on, also while nobody answers."""
        until = time.monotonic() + timeout
        path = '/v1/operations/%s?wait=%d' % (
            urllib.parse.quote(operation, safe=''), LONG_POLL)
        reason = 'it has not ended'
        while time.monotonic() < until:
            try:
                status, answer = ask('GET', path)
            except (Unsent, OSError, http.client.HTTPException) as error:
                reason = error
                time.sleep(1)
                continue
            if status != 200:
                raise exception.InternalError(answer['error']['message'])
            if answer['outcome'] is not None:
                return answer
        raise exception.InternalError(
            _("Operation %(id)s of chainkeeper: %(reason)s within "
              "%(timeout)d s") %
            {'id': operation, 'reason': reason, 'timeout': timeout})

    def _tell_failed(self, context, snapshot_id, status):
        """With 0%: Cinder takes 90% for done, even beside an error."""
        try:
            client = cinder.cinderclient(context).volume_snapshots
            client.update_snapshot_status(
                snapshot_id, {'status': status, 'progress': '0%'})
        except Exception:
            LOG.exception('Failed to send updated snapshot status '
                          'to volume service.')


class Unsent(Exception):
    """Nobody listens: nothing can have been asked."""


class _UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(CONF.chainkeeper.socket)
        except OSError as error:
            raise Unsent(error)


def ask(method, path, body=None, headers=None):
    """One request to chainkeeper: the status and the JSON of its answer."""
    connection = _UnixConnection('localhost', timeout=SILENCE)
    try:
        data = None if body is None else jsonutils.dump_as_bytes(body)
        connection.request(method, path, data, dict(
            headers or {}, **{'Content-Type': 'application/json'}))
        answer = connection.getresponse()
        return answer.status, jsonutils.loads(answer.read())
    finally:
        connection.close()
