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

"""Run with python3-cinder installed: python3 -m unittest discover"""

import types
import unittest
from unittest import mock

from oslo_serialization import jsonutils
import webob

from cinder import exception
from cinder import objects

import chainkeeper_api

objects.register_all()

URL = '/0123456789abcdef/snapshots/s/action'


class SnapshotStatusTest(unittest.TestCase):
    def setUp(self):
        super(SnapshotStatusTest, self).setUp()
        self.forwarded = []

        @webob.dec.wsgify
        def cinder(request):
            self.forwarded.append(jsonutils.loads(request.body))
            return webob.Response(status_int=202)

        self.app = chainkeeper_api.SnapshotStatus.factory({})(cinder)
        self.snapshot = types.SimpleNamespace(id='s', volume_id='v',
                                              status='creating')
        self.volume = mock.Mock(id='v', admin_metadata={'format': 'raw'})
        self.volume.name = 'volume-v'
        self._attached('volume-v')
        self.kept = self.volume.admin_metadata_update
        self.context = mock.Mock()
        self._patch('Snapshot.get_by_id', side_effect=self._snapshot)
        self._patch('Volume.get_by_id', return_value=self.volume)

    def _attached(self, name):
        attachment = types.SimpleNamespace(connection_info={'name': name})
        self.volume.volume_attachment = [attachment]

    def _patch(self, name, **words):
        patcher = mock.patch('chainkeeper_api.objects.%s' % name, create=True,
                             **words)
        self.addCleanup(patcher.stop)
        patcher.start()

    def _snapshot(self, _context, snapshot_id):
        if snapshot_id != 's':
            raise exception.SnapshotNotFound(snapshot_id=snapshot_id)
        return self.snapshot

    def _say(self, url=URL, method='POST', body=None, **words):
        request = webob.Request.blank(url, method=method)
        request.environ['cinder.context'] = self.context
        said = {'os-update_snapshot_status': words} if body is None else body
        request.body = jsonutils.dump_as_bytes(said)
        answer = request.get_response(self.app)
        return answer.status_int

    def _created(self, **formats):
        return self._say(status='creating_compute_complete', progress='90%',
                         file_format=formats or {'volume-v.s': 'qcow2'})

    def test_created(self):
        self.assertEqual(202, self._created())
        self.assertEqual(
            [{'os-update_snapshot_status': {'status': 'creating',
                                            'progress': '90%'}}],
            self.forwarded)
        self.kept.assert_called_once_with(
            {'format': 'qcow2', 'base_format': 'raw'}, False)

    def test_base_format_is_kept_from_the_first_snapshot_on(self):
        self.volume.admin_metadata = {'format': 'qcow2', 'base_format': 'raw'}
        self._created()
        self.kept.assert_called_once_with({'format': 'qcow2'}, False)

    def test_snapshots_that_are_older_than_the_filter(self):
        self._attached('volume-v.older')
        self._created()
        self.kept.assert_called_once_with({'format': 'qcow2'}, False)

    def test_base_format_that_nobody_knew(self):
        self.volume.admin_metadata = None
        self._created()
        self.kept.assert_called_once_with({'format': 'qcow2'}, False)

    def test_deleted_by_commit_into_the_base(self):
        self.snapshot.status = 'deleting'
        self._attached('volume-v.t')
        self._say(status='deleting_compute_complete', progress='90%',
                  file_format={'volume-v': 'raw'})
        self.assertEqual('deleting', self.forwarded[0][
            'os-update_snapshot_status']['status'])
        self.kept.assert_called_once_with({'base_format': 'raw'}, False)

    def test_deleted_by_pull(self):
        self.snapshot.status = 'deleting'
        self._attached('volume-v.s')
        self._say(status='deleting_compute_complete', progress='90%',
                  file_format={'volume-v.s': 'qcow2', 'volume-v': 'raw'})
        self.kept.assert_called_once_with(
            {'format': 'qcow2', 'base_format': 'raw'}, False)

    def test_deleted_with_nothing_new_of_the_active_file(self):
        self.snapshot.status = 'deleting'
        self.volume.volume_attachment = []
        self._say(status='deleting_compute_complete', progress='90%',
                  file_format={'volume-v.s': 'qcow2'})
        self.kept.assert_not_called()

    def test_stock_words_pass_untouched(self):
        for words in ({'status': 'creating', 'progress': '90%'},
                      {'status': 'error', 'progress': '0%'}):
            self._say(**words)
            self.assertEqual({'os-update_snapshot_status': words},
                             self.forwarded.pop())
        self.context.authorize.assert_not_called()

    def test_stock_status_with_formats(self):
        self._say(status='creating', progress='90%',
                  file_format={'volume-v.s': 'qcow2'})
        self.assertEqual({'status': 'creating', 'progress': '90%'},
                         self.forwarded[0]['os-update_snapshot_status'])
        self.kept.assert_called_once()

    def test_new_status_without_formats(self):
        self._say(status='creating_compute_complete', progress='90%')
        self.assertEqual('creating', self.forwarded[0][
            'os-update_snapshot_status']['status'])
        self.kept.assert_not_called()

    def test_whoever_may_not_say_it(self):
        self.context.authorize.side_effect = exception.PolicyNotAuthorized(
            action='x')
        with self.assertRaises(exception.PolicyNotAuthorized):
            self._created()
        self.assertEqual([], self.forwarded)
        self.kept.assert_not_called()

    def test_status_that_does_not_follow(self):
        self.snapshot.status = 'available'
        self.assertEqual(400, self._created())
        self.assertEqual([], self.forwarded)
        self.kept.assert_not_called()

    def test_formats_that_are_none(self):
        for formats in ('qcow2', ['volume-v.s'], {'volume-v.s': 'exe'},
                        {'volume-v.s': None}, {'volume-w': 'raw'},
                        {'volume-vv': 'raw'}, {'volume-v.s/../x': 'raw'},
                        {'/etc/passwd': 'raw'},
                        {'volume-v.' + 'x' * 300: 'raw'}):
            with self.subTest(formats=formats):
                self.assertEqual(400, self._say(
                    status='creating_compute_complete', progress='90%',
                    file_format=formats))
        self.assertEqual([], self.forwarded)
        self.kept.assert_not_called()

    def test_snapshot_that_is_not_there_is_cinders_to_refuse(self):
        self._say(url='/p/snapshots/gone/action', progress='90%',
                  status='creating_compute_complete',
                  file_format={'volume-v.s': 'qcow2'})
        self.assertEqual({'status': 'creating', 'progress': '90%'},
                         self.forwarded[0]['os-update_snapshot_status'])

    def test_everything_else_passes(self):
        words = {'os-update_snapshot_status': {
            'status': 'creating_compute_complete', 'file_format': {}}}
        for url, method, body in ((URL, 'PUT', words),
                                  ('/p/volumes/s/action', 'POST', words),
                                  (URL, 'POST', {'os-reset_status': {}}),
                                  (URL, 'POST', dict(words, more=1)),
                                  (URL, 'POST', []),
                                  (URL, 'POST', 7)):
            with self.subTest(url=url, method=method, body=body):
                self._say(url=url, method=method, body=body)
                self.assertEqual(body, self.forwarded.pop())
