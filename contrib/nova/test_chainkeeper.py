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

"""Run with python3-nova installed: python3 -m unittest test_chainkeeper"""

import json
import os
import socket
import tempfile
import threading
import types
import unittest
from unittest import mock

from nova import exception
from nova import objects

import chainkeeper

CREATE = {'snapshot_id': 's', 'type': 'qcow2', 'new_file': 'volume-v.s'}
DELETE = {'type': 'qcow2', 'file_to_merge': 'volume-v.s',
          'merge_target_file': 'volume-v', 'volume_id': 'v'}
GLOBAL = 'req-0a1b2c3d-9dad-41d1-80b4-00c04fd430c8'


def ended(outcome, **more):
    return 200, dict(id='op-1', outcome=outcome, reason='because', **more)


OPEN = 200, {'id': 'op-1', 'outcome': None, 'reason': None}
TAKEN = 202, {'operation': 'op-1'}
HANG_UP = None


class FakeChainkeeper(object):
    """Listens on a unix socket and says what it is told to, in order."""

    def __init__(self, path, answers):
        self.asked = []
        self._answers = list(answers)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for answer in self._answers:
            connection, _ = self._socket.accept()
            with connection, connection.makefile('rb') as lines:
                method, path, _ = lines.readline().decode().split()
                headers = {}
                for line in iter(lines.readline, b'\r\n'):
                    name, _, value = line.decode().partition(':')
                    headers[name.lower()] = value.strip()
                body = lines.read(int(headers.get('content-length', 0)))
                self.asked.append((method, path, headers,
                                   json.loads(body) if body else None))
                if answer is HANG_UP:
                    continue
                status, words = answer
                text = json.dumps(words).encode()
                connection.sendall(
                    b'HTTP/1.1 %d x\r\nContent-Length: %d\r\n'
                    b'Connection: close\r\n\r\n' % (status, len(text)) + text)

    def close(self):
        self._socket.close()


class LibvirtDriverTest(unittest.TestCase):
    def setUp(self):
        super(LibvirtDriverTest, self).setUp()
        objects.register_all()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'a.sock')
        chainkeeper.CONF.set_override('socket', self.path, 'chainkeeper')
        chainkeeper.CONF.set_override('connect_timeout', 0, 'chainkeeper')
        self.addCleanup(chainkeeper.CONF.clear_override, 'socket',
                        'chainkeeper')
        self.addCleanup(chainkeeper.CONF.clear_override, 'connect_timeout',
                        'chainkeeper')
        self._patch('time.sleep')
        client = self._patch('chainkeeper.cinder.cinderclient').return_value
        self.told = client.volume_snapshots.update_snapshot_status
        self.refreshed = self._patch(
            'chainkeeper.LibvirtDriver._volume_refresh_connection_info')
        self.driver = chainkeeper.LibvirtDriver.__new__(
            chainkeeper.LibvirtDriver)
        self.driver._volume_api = mock.Mock()
        self.driver._volume_api.get_snapshot.return_value = {
            'status': 'available'}
        self.instance = types.SimpleNamespace(uuid='i', name='i')
        self.context = types.SimpleNamespace(global_id=GLOBAL)

    def _patch(self, name):
        patcher = mock.patch(name)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def _serve(self, *answers):
        fake = FakeChainkeeper(self.path, answers)
        self.addCleanup(fake.close)
        return fake

    def _create(self):
        self.driver.volume_snapshot_create(self.context, self.instance, 'v',
                                           CREATE)

    def _delete(self):
        self.driver.volume_snapshot_delete(self.context, self.instance, 'v',
                                           's', DELETE)

    def test_create(self):
        fake = self._serve(TAKEN, OPEN, ended('created'))
        self._create()
        method, path, headers, body = fake.asked[0]
        self.assertEqual(('POST', '/v1/operations'), (method, path))
        self.assertEqual(GLOBAL, headers['x-openstack-request-id'])
        self.assertEqual({'kind': 'create', 'volume': 'v', 'snapshot': 's',
                          'new_file': 'volume-v.s'}, body)
        self.assertEqual(['/v1/operations/op-1?wait=30'] * 2,
                         [asked[1] for asked in fake.asked[1:]])
        self.refreshed.assert_called_once_with(self.context, self.instance,
                                               'v')
        self.told.assert_not_called()

    def test_create_is_refreshed_once_cinder_has_taken_it(self):
        self._serve(TAKEN, ended('created'))
        seen = [{'status': 'creating'},
                {'status': 'creating_compute_complete'},
                {'status': 'available'}]

        def get_snapshot(_context, _id):
            self.refreshed.assert_not_called()
            return seen.pop(0)

        self.driver._volume_api.get_snapshot.side_effect = get_snapshot
        self._create()
        self.assertEqual([], seen)
        self.refreshed.assert_called_once()

    def test_delete(self):
        fake = self._serve(TAKEN, ended('merged'))
        self._delete()
        self.assertEqual(
            {'kind': 'delete', 'volume': 'v', 'snapshot': 's',
             'delete_info': {'file_to_merge': 'volume-v.s',
                             'merge_target_file': 'volume-v'}},
            fake.asked[0][3])
        self.refreshed.assert_called_once()

    def test_nothing_to_do(self):
        self._serve((202, {'operation': None}))
        self._create()
        self.refreshed.assert_not_called()
        self.told.assert_not_called()

    def test_refused(self):
        error = {'error': {'kind': 'foreign-job', 'message': 'A job.'}}
        for ask, status in ((self._create, 'error'),
                            (self._delete, 'error_deleting')):
            fake = self._serve((400, error))
            with self.assertRaisesRegex(chainkeeper.ChainkeeperRefused,
                                        'A job.'):
                ask()
            # Cinder would take 90% for done, even beside an error.
            self.told.assert_called_with(
                's', {'status': status, 'progress': '0%'})
            fake.close()
            os.unlink(self.path)

    def test_away(self):
        with self.assertRaisesRegex(chainkeeper.ChainkeeperAway, self.path):
            self._create()
        self.told.assert_called_once_with(
            's', {'status': 'error', 'progress': '0%'})
        self.refreshed.assert_not_called()

    def test_asked_again_until_it_answers(self):
        chainkeeper.CONF.set_override('connect_timeout', 30, 'chainkeeper')
        fake = self._serve(HANG_UP, TAKEN, HANG_UP, ended('created'))
        self._create()
        self.assertEqual(fake.asked[0][3], fake.asked[1][3])
        self.refreshed.assert_called_once()

    def test_nobody_knows_whether_it_was_taken(self):
        self._serve(HANG_UP)
        with self.assertRaises(exception.InternalError):
            self._create()
        # What chainkeeper may have taken Cinder hears of from there.
        self.told.assert_not_called()

    def test_failed(self):
        for outcome in ('failed', 'withdrawn', 'unknown'):
            fake = self._serve(TAKEN, ended(outcome))
            with self.assertRaisesRegex(
                    chainkeeper.ChainkeeperRefused,
                    'operation op-1 %s: because' % outcome):
                self._create()
            fake.close()
            os.unlink(self.path)
        self.told.assert_not_called()
        self.refreshed.assert_not_called()

    def test_not_waited_for_without_end(self):
        chainkeeper.CONF.set_override('create_timeout', 1, 'chainkeeper')
        self.addCleanup(chainkeeper.CONF.clear_override, 'create_timeout',
                        'chainkeeper')
        self._serve(TAKEN, OPEN)
        with mock.patch('time.monotonic', side_effect=[0, 0, 0, 5]):
            with self.assertRaisesRegex(exception.InternalError, 'op-1'):
                self._create()
        self.told.assert_not_called()

    def test_only_qcow2(self):
        info = dict(CREATE, type='raw')
        with self.assertRaises(exception.InternalError):
            self.driver.volume_snapshot_create(self.context, self.instance,
                                               'v', info)
        self.told.assert_not_called()


class RefreshTest(unittest.TestCase):
    """Nova's copy gets the format of the file that Cinder names."""

    def _refreshed(self, formats, name='volume-v.s', has='raw', status=200,
                   failures=()):
        bdm = mock.Mock(connection_info=json.dumps(
            {'data': {'name': name, 'format': has}}))
        answer = status, {'volume': 'v', 'file_format': formats}
        parent = 'nova.virt.libvirt.driver.LibvirtDriver'
        with mock.patch(parent + '._volume_refresh_connection_info') as ours, \
                mock.patch('chainkeeper.ask',
                           side_effect=[*failures, answer]), \
                mock.patch('time.sleep'), \
                mock.patch.object(
                    chainkeeper.objects.BlockDeviceMapping,
                    'get_by_volume_and_instance', return_value=bdm):
            driver = chainkeeper.LibvirtDriver.__new__(
                chainkeeper.LibvirtDriver)
            driver._volume_refresh_connection_info(
                None, types.SimpleNamespace(uuid='i'), 'v')
        ours.assert_called_once()
        found = json.loads(bdm.connection_info)['data']['format']
        return found, bdm.save.called

    def test_corrected(self):
        self.assertEqual(('qcow2', True),
                         self._refreshed({'volume-v.s': 'qcow2'}))

    def test_corrected_when_it_answers_again(self):
        away = chainkeeper.Unsent(), ConnectionResetError()
        self.assertEqual(
            ('qcow2', True),
            self._refreshed({'volume-v.s': 'qcow2'}, failures=away))

    def test_not_left_wrong_in_silence(self):
        chainkeeper.CONF.set_override('connect_timeout', 0, 'chainkeeper')
        self.addCleanup(chainkeeper.CONF.clear_override, 'connect_timeout',
                        'chainkeeper')
        with self.assertRaises(chainkeeper.ChainkeeperAway):
            self._refreshed({}, failures=[chainkeeper.Unsent()])

    def test_right_already(self):
        self.assertEqual(('qcow2', False),
                         self._refreshed({'volume-v.s': 'qcow2'}, has='qcow2'))

    def test_of_a_file_that_nobody_knows(self):
        self.assertEqual(('raw', False), self._refreshed({'other': 'qcow2'}))
        self.assertEqual(('raw', False), self._refreshed({}, status=503))
