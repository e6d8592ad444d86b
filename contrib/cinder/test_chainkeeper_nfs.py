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

"""Run with python3-cinder and qemu-img: python3 -m unittest discover

Cinder's own objects over a database in a file, and real images on a folder
that is taken for a share; only Nova, Glance and root are missing.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from unittest import mock

from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_utils import units

from cinder import context as cinder_context
from cinder import coordination
from cinder.db import migration
from cinder import exception
from cinder import objects

# Its drivers name the classes of objects when they are loaded.
objects.register_all()

from cinder.volume import configuration  # noqa: E402
from cinder.volume import driver as volume_driver  # noqa: E402
from cinder.volume.drivers import nfs  # noqa: E402
from cinder.volume.drivers import remotefs  # noqa: E402
from cinder.volume import volume_types  # noqa: E402

import chainkeeper_nfs  # noqa: E402

CONF = cfg.CONF
SHARE = '127.0.0.1:/share'
SOME_ID = '0b6a7a56-5a6f-4a3b-9d0c-6c1d4a2f9e11'
# Of its 1 GiB a guest here writes to no more.
WRITTEN_MIB = 24
TYPE = None


class Popen(subprocess.Popen):
    """Without the preexec_fn of processutils.execute, which rules out vfork.

    All it does, to give SIGPIPE its meaning back, Popen does by itself; and to
    fork all of Cinder takes longer than qemu-img does.
    """

    def __init__(self, *command, preexec_fn=None, **words):
        super(Popen, self).__init__(*command, **words)


def setUpModule():
    popen = mock.patch('subprocess.Popen', Popen)
    popen.start()
    unittest.addModuleCleanup(popen.stop)
    state = tempfile.mkdtemp(prefix='chainkeeper-nfs-')
    unittest.addModuleCleanup(shutil.rmtree, state)
    CONF([], project='cinder', default_config_files=[])
    CONF.set_override('state_path', state)
    CONF.set_override('image_conversion_dir', state)
    CONF.set_override('connection', 'sqlite:///%s/db' % state, 'database')
    # No database here outlives its tests.
    CONF.set_override('sqlite_synchronous', False, 'database')
    CONF.set_override('backend_url', 'file://' + state, 'coordination')
    migration.db_sync()
    global TYPE
    TYPE = volume_types.create(cinder_context.get_admin_context(), 'nfs')
    coordination.COORDINATOR.start()
    unittest.addModuleCleanup(coordination.COORDINATOR.stop)


class DriverTest(unittest.TestCase):
    """A driver over a share of its own; nothing of it runs as root."""

    def setUp(self):
        super(DriverTest, self).setUp()
        self.commands = []
        self.context = cinder_context.RequestContext('me', 'mine', False)
        base = tempfile.mkdtemp(dir=CONF.state_path)
        conf = configuration.Configuration(volume_driver.volume_opts, 'nfs1')
        for opts in (nfs.nfs_opts, remotefs.nas_opts, remotefs.volume_opts):
            conf.append_config_values(opts)
        for name, value in (('nfs_mount_point_base', base),
                            ('nfs_snapshot_support', True),
                            ('nas_secure_file_operations', 'false'),
                            ('nas_secure_file_permissions', 'false')):
            CONF.set_override(name, value, 'nfs1')
        self.addCleanup(CONF.clear_override, 'nfs_qcow2_volumes', 'nfs1')
        self.driver = chainkeeper_nfs.NfsDriver(configuration=conf)
        self.driver._execute = self._execute
        self._patch('cinder.utils.execute', side_effect=self._execute)
        self.driver.shares = {SHARE: None}
        self.driver._ensure_shares_mounted = mock.Mock()
        self.driver._ensure_share_mounted = mock.Mock()
        self.driver._find_share = mock.Mock(return_value=SHARE)
        self.driver._is_share_eligible = mock.Mock(return_value=True)
        self.driver._nova = mock.Mock()
        self.folder = self.driver._get_mount_point_for_share(SHARE)
        os.makedirs(self.folder)
        self.volume = self._volume()
        self.path = self._path(self.volume.name)

    def tearDown(self):
        for command in self.commands:
            told = command[command.index('qemu-img') + 1:]
            self.assertTrue('-f' in told or any(
                word.startswith('json:') for word in told), told)
            # A guest may have it open (LP 1718133).
            self.assertEqual('info' in told, '--force-share' in told, told)
        super(DriverTest, self).tearDown()

    def _patch(self, name, *what, **words):
        patcher = mock.patch(name, *what, **words)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def _execute(self, *command, **words):
        if 'qemu-img' in command:
            self.commands.append(command)
        words.pop('run_as_root', None)
        words.pop('prlimit', None)
        return processutils.execute(*command, **words)

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _row(self, **more):
        volume = objects.Volume(
            self.context, size=1, status='available', host='lab@nfs1',
            attach_status='detached', volume_type_id=TYPE.id,
            user_id='me', project_id='mine', **more)
        volume.create()
        return volume

    def _volume(self):
        volume = self._row()
        volume.update(self.driver.create_volume(volume))
        volume.save()
        return volume

    def _snapshot(self, volume=None):
        volume = volume or self.volume
        snapshot = objects.Snapshot(
            self.context, volume_id=volume.id, status='creating',
            progress='0%', volume_size=1, display_name='s',
            volume_type_id=TYPE.id, user_id='me', project_id='mine')
        snapshot.create()
        return objects.Snapshot.get_by_id(self.context, snapshot.id)

    def _taken(self, write=None):
        snapshot = self._snapshot()
        self.driver.create_snapshot(snapshot)
        if write:
            self._write(self._path('%s.%s' % (self.volume.name, snapshot.id)),
                        *write)
        return snapshot

    def _attach(self):
        """As Nova would have it: in use, with one attachment."""
        info = self.driver.initialize_connection(self.volume, {})
        attachment = objects.VolumeAttachment(
            self.context, volume_id=self.volume.id, instance_uuid=SOME_ID,
            attach_status='attached')
        attachment.create()
        attachment.connection_info = info['data']
        attachment.save()
        self.volume.update({'status': 'in-use', 'attach_status': 'attached'})
        self.volume.save()

    def _nova_says(self, status, progress='90%'):
        def say(_context, snapshot_id, *_more):
            return {'status': status, 'progress': progress, 'id': snapshot_id}

        # Where this Cinder's driver has it from.
        self._patch(remotefs.db.__name__ + '.snapshot_get', side_effect=say)
        self._patch('time.sleep')

    def _metadata(self, volume=None):
        return chainkeeper_nfs._now(volume or self.volume).admin_metadata

    def _record(self, metadata, volume=None):
        """What some Cinder left in the database."""
        volume = chainkeeper_nfs._now(volume or self.volume)
        volume.admin_metadata_update(metadata, True)

    def _info(self):
        with open(self.path + '.info') as info:
            return json.load(info)

    def _header(self, path):
        out, _err = processutils.execute('qemu-img', 'info', '-f', 'qcow2',
                                         '--output=json', path)
        info = json.loads(out)
        return (info.get('backing-filename'),
                info.get('backing-filename-format'))

    def _write(self, path, at, byte):
        """As a guest that has the file as qcow2; 64 KiB."""
        processutils.execute('qemu-io', '-f', 'qcow2', '-c', 'write -P %s %s '
                             '64k' % (byte, at), path)

    def _seen(self, path, fmt):
        """The guest's disk, as QEMU shows it that believes the headers."""
        out = os.path.join(CONF.state_path, 'seen')
        processutils.execute('qemu-img', 'dd', '-f', fmt, '-O', 'raw',
                             'bs=1M', 'count=%d' % WRITTEN_MIB,
                             'if=' + path, 'of=' + out)
        return self._hash(out)

    def _hash(self, path):
        with open(path, 'rb') as data:
            return hashlib.sha256(
                data.read(WRITTEN_MIB * units.Mi)).hexdigest()

    def _forge(self):
        """The guest writes a qcow2 header that names another file."""
        other = self.volume.name + '.facade'
        with open(self._path(other), 'wb') as secret:
            secret.write(b"somebody else's".ljust(units.Mi, b'!'))
        forged = os.path.join(CONF.state_path, 'forged')
        processutils.execute('qemu-img', 'create', '-u', '-f', 'qcow2', '-b',
                             other, '-F', 'raw', forged, '1G')
        with open(forged, 'rb') as header, open(self.path, 'r+b') as disk:
            disk.write(header.read())
        return self._hash(self.path)


class ForgedTest(DriverTest):
    """A raw volume whose guest wrote a qcow2 header (OSSA-2014-033)."""

    def setUp(self):
        super(ForgedTest, self).setUp()
        self.bytes = self._forge()

    def _lie(self, overlay):
        """As an older Cinder did, which looked at the base."""
        processutils.execute('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b',
                             self.volume.name, '-F', 'qcow2',
                             self._path(overlay))

    def test_connection(self):
        info = self.driver.initialize_connection(self.volume, {})
        self.assertEqual(
            {'export': SHARE, 'name': self.volume.name, 'format': 'raw',
             'options': None}, info['data'])

    def test_snapshot_and_its_delete(self):
        one = self._taken()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        self.assertEqual((self.volume.name, 'raw'), self._header(overlay))
        self.assertEqual(self.bytes, self._seen(overlay, 'qcow2'))
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())
        info = self.driver.initialize_connection(self.volume, {})
        self.assertEqual('qcow2', info['data']['format'])
        self._write(overlay, '8M', 0x17)
        with_write = self._seen(overlay, 'qcow2')
        self.driver.delete_snapshot(one)
        self.assertEqual(with_write, self._hash(self.path))
        self.assertFalse(os.path.exists(overlay))
        self.assertEqual({'active': self.volume.name}, self._info())
        self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                         self._metadata())
        info = self.driver.initialize_connection(self.volume, {})
        self.assertEqual('raw', info['data']['format'])

    def test_delete_below_another_snapshot(self):
        one = self._taken(('8M', 1))
        two = self._taken(('16M', 2))
        top = self._path('%s.%s' % (self.volume.name, two.id))
        before = self._seen(top, 'qcow2')
        self.driver.delete_snapshot(one)
        self.assertEqual((self.volume.name, 'raw'), self._header(top))
        self.assertEqual(before, self._seen(top, 'qcow2'))
        self.assertEqual({'active': os.path.basename(top),
                          two.id: os.path.basename(top)}, self._info())

    def test_header_that_an_older_cinder_wrote(self):
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        self._lie(overlay)
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual((self.volume.name, 'raw'), self._header(overlay))
        self.assertEqual(before, self._seen(overlay, 'qcow2'))

    def test_such_a_header_is_left_alone_while_a_guest_uses_it(self):
        one = self._taken()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        self._attach()
        self._lie(overlay)
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual((self.volume.name, 'qcow2'), self._header(overlay))

    def test_such_a_header_is_not_believed_by_a_merge(self):
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        self._lie(overlay)
        self.driver.delete_snapshot(one)
        self.assertEqual(before, self._hash(self.path))

    def test_volume_from_a_snapshot(self):
        one = self._taken(('8M', 1))
        middle = self._seen(self._path('%s.%s' % (self.volume.name, one.id)),
                            'qcow2')
        two = self._taken(('16M', 2))
        self._lie('%s.%s' % (self.volume.name, one.id))
        for snapshot, expected in ((one, self.bytes), (two, middle)):
            snapshot.update({'status': 'available'})
            copy = self._row()
            self.driver.create_volume_from_snapshot(copy, snapshot)
            self.assertEqual(expected, self._hash(self._path(copy.name)))
            self.assertEqual('raw', self._metadata(copy)['format'])

    def test_qcow2_volume_from_a_snapshot(self):
        one = self._taken()
        one.update({'status': 'available'})
        CONF.set_override('nfs_qcow2_volumes', True, 'nfs1')
        copy = self._row()
        self.driver.create_volume_from_snapshot(copy, one)
        self.assertEqual(self.bytes,
                         self._seen(self._path(copy.name), 'qcow2'))
        self.assertEqual('qcow2', self._metadata(copy)['format'])

    def test_clone(self):
        self._taken(('8M', 1))
        before = self._seen(self.driver._local_path_active_image(self.volume),
                            'qcow2')
        source = objects.Volume.get_by_id(self.context, self.volume.id)
        copy = self._row()
        update = self.driver.create_cloned_volume(copy, source)
        copy.update(update)
        copy.save()
        self.assertEqual(before, self._hash(self._path(copy.name)))
        self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                         self._metadata(copy))
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())
        info = self.driver.initialize_connection(copy, {})
        self.assertEqual('raw', info['data']['format'])

    def _uploaded(self, disk_format):
        sent = {}

        def upload(_context, _service, meta, path, _volume, volume_format,
                   run_as_root):
            self.assertEqual(meta['disk_format'], volume_format)
            sent['path'] = path
            sent['bytes'] = (self._hash(path) if disk_format == 'raw'
                             else self._seen(path, disk_format))

        self._patch('cinder.volume.volume_utils.upload_volume', upload)
        self.driver.copy_volume_to_image(
            self.context, self.volume, None,
            {'id': SOME_ID, 'disk_format': disk_format})
        return sent

    def test_image_of_it(self):
        self.assertEqual({'path': self.path, 'bytes': self.bytes},
                         self._uploaded('raw'))
        self.assertEqual(self.bytes, self._uploaded('qcow2')['bytes'])
        self._taken(('8M', 1))
        expected = self._seen(
            self.driver._local_path_active_image(self.volume), 'qcow2')
        for disk_format in ('raw', 'qcow2'):
            sent = self._uploaded(disk_format)
            self.assertEqual(expected, sent['bytes'])
            self.assertFalse(os.path.exists(sent['path']))

    def test_image_that_may_not_be_converted(self):
        CONF.set_override('image_conversion_disable', True)
        self.addCleanup(CONF.clear_override, 'image_conversion_disable')
        with self.assertRaises(exception.ImageConversionNotAllowed):
            self._uploaded('qcow2')

    def test_extend(self):
        self.driver.extend_volume(self.volume, 2)
        self.assertEqual(2 * units.Gi, os.path.getsize(self.path))
        self.volume.update({'size': 2})
        self.volume.save()
        self.driver.initialize_connection(self.volume, {})

    def test_extend_with_a_snapshot(self):
        one = self._taken()
        self.driver.extend_volume(self.volume, 2)
        self.assertEqual(self.bytes, self._hash(self.path))
        self.volume.update({'size': 2})
        self.volume.save()
        info = self.driver.initialize_connection(self.volume, {})
        self.assertEqual('qcow2', info['data']['format'])
        self.driver.delete_snapshot(one)
        self.assertEqual(2 * units.Gi, os.path.getsize(self.path))


class OnlineTest(DriverTest):
    """A guest uses the volume, and Nova (or who stands for it) works."""

    def setUp(self):
        super(OnlineTest, self).setUp()
        self._forge()
        self._attach()

    def _attachment(self):
        attachment, = objects.VolumeAttachmentList.get_all_by_volume_id(
            self.context, self.volume.id)
        return attachment.connection_info

    def test_create(self):
        snapshot = self._snapshot()
        overlay = '%s.%s' % (self.volume.name, snapshot.id)
        self._nova_says('creating')
        self.driver.create_snapshot(snapshot)
        self.assertEqual((self.volume.name, 'raw'),
                         self._header(self._path(overlay)))
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())
        self.assertEqual((overlay, 'qcow2'), (self._attachment()['name'],
                                              self._attachment()['format']))

    def test_nobody_is_told_of_the_overlay_before_its_format_is_stored(self):
        snapshot = self._snapshot()
        self._nova_says('creating')
        save = objects.VolumeAttachment.save
        known = []

        def saved(attachment):
            known.append(self._metadata()['format'])
            save(attachment)

        self._patch('cinder.objects.VolumeAttachment.save', saved)
        self.driver.create_snapshot(snapshot)
        self.assertEqual(['qcow2'], known)

    def test_create_that_fails(self):
        snapshot = self._snapshot()
        self._nova_says('error')
        with self.assertRaises(exception.RemoteFSException):
            self.driver.create_snapshot(snapshot)
        self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                         self._metadata())
        self.assertEqual((self.volume.name, 'raw'),
                         (self._attachment()['name'],
                          self._attachment()['format']))

    def test_create_that_fails_after_it_was_reported(self):
        snapshot = self._snapshot()
        self.driver._nova.create_volume_snapshot.side_effect = (
            lambda *_words: chainkeeper_nfs._now(
                self.volume).admin_metadata_update({'format': 'qcow2'}, False))
        self._nova_says('error')
        with self.assertRaises(exception.RemoteFSException):
            self.driver.create_snapshot(snapshot)
        self.assertEqual('raw', self._metadata()['format'])

    def test_cinder_volume_that_was_killed_after_a_report(self):
        self._record({'format': 'qcow2', 'base_format': 'raw'})
        self.driver.ensure_export(self.context, self.volume)
        self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                         self._metadata())

    def test_death_between_the_attachment_and_the_info(self):
        """The guest stays on the overlay, which is what it starts from."""
        snapshot = self._snapshot()
        self._nova_says('creating')
        with mock.patch('json.dump', side_effect=OSError):
            self.assertRaises(OSError, self.driver.create_snapshot, snapshot)
        self.assertEqual('%s.%s' % (self.volume.name, snapshot.id),
                         self._attachment()['name'])
        self.assertEqual('qcow2', self._metadata()['format'])
        self.driver.ensure_export(self.context, self.volume)
        self.assertEqual('qcow2', self._metadata()['format'])

    def test_format_that_an_older_cinder_left(self):
        self._taken_online()
        self._record({'format': 'raw'})
        self.driver.ensure_export(self.context, self.volume)
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())

    def test_start_with_a_volume_of_which_nothing_is_known(self):
        self._record({})
        with self.assertLogs('chainkeeper_nfs', 'ERROR'):
            self.driver.ensure_export(self.context, self.volume)
        self.assertEqual({}, self._metadata())

    def test_migration_while_a_create_is_reported(self):
        self._record({'format': 'qcow2', 'base_format': 'raw'})
        info = self.driver.initialize_connection(self.volume, {})
        self.assertEqual('raw', info['data']['format'])
        self.assertEqual('qcow2', self._metadata()['format'])

    def _taken_online(self):
        snapshot = self._snapshot()
        self._nova_says('creating')
        self.driver.create_snapshot(snapshot)
        return objects.Snapshot.get_by_id(self.context, snapshot.id)

    def test_pull_of_everything(self):
        one = self._taken_online()
        self._nova_says('deleting')
        self.driver.delete_snapshot(one)
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual({'format': 'qcow2', 'base_format': 'qcow2'},
                         self._metadata())
        self._record({'format': 'qcow2'})
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual({'format': 'qcow2', 'base_format': 'qcow2'},
                         self._metadata())

    def test_commit_into_the_base(self):
        one = self._taken_online()
        two = self._taken_online()
        self._nova_says('deleting')
        self.driver.delete_snapshot(one)
        self.assertTrue(os.path.exists(self.path))
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())
        self.assertEqual({'active', two.id}, set(self._info()))

    def test_pull_onto_another(self):
        self._taken_online()
        two = self._taken_online()
        self._nova_says('deleting')
        self.driver.delete_snapshot(two)
        self.assertTrue(os.path.exists(self.path))
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())

    def test_pull_that_fails(self):
        one = self._taken_online()
        self._nova_says('error_deleting')
        with self.assertRaises(exception.RemoteFSException):
            self.driver.delete_snapshot(one)
        self.assertEqual({'format': 'qcow2', 'base_format': 'raw'},
                         self._metadata())

    def test_what_a_newer_cinder_stores_before_the_fact(self):
        one = self._taken_online()
        stock = nfs.NfsDriver._delete_snapshot_online

        def newer(driver, context, snapshot, info):
            volume = snapshot.volume
            with volume.obj_as_admin():
                volume.admin_metadata['base_format'] = 'qcow2'
                volume.save()
            stock(driver, context, snapshot, info)

        self._patch(
            'cinder.volume.drivers.nfs.NfsDriver.'
            '_delete_snapshot_online', newer)
        told = []
        self.driver._nova.delete_volume_snapshot.side_effect = (
            lambda *_words: told.append(self._metadata()['base_format']))
        self._nova_says('error_deleting')
        with self.assertRaises(exception.RemoteFSException):
            self.driver.delete_snapshot(one)
        self.assertEqual(['raw'], told)
        self.assertEqual('raw', self._metadata()['base_format'])


class FormatTest(DriverTest):
    """What follows from what is recorded."""

    def _format(self, name=None):
        path = self._path(name or self.volume.name)
        return self.driver._format_of(path, chainkeeper_nfs._now(self.volume))

    def test_as_it_was_made(self):
        self.assertEqual('raw', self._format())
        CONF.set_override('nfs_qcow2_volumes', True, 'nfs1')
        self.volume = self._volume()
        self.assertEqual('qcow2', self._format())

    def test_overlay(self):
        self._record({})
        self.assertEqual('qcow2', self._format(self.volume.name + '.a'))

    def test_base_format_is_what_counts(self):
        self._record({'format': 'qcow2', 'base_format': 'raw'})
        self.assertEqual('raw', self._format())
        self._record({'format': 'raw', 'base_format': 'vpc'})
        self.assertEqual('vpc', self._format())

    def test_format_of_a_volume_that_has_no_snapshots(self):
        self._record({'format': 'qcow2'})
        self.assertEqual('qcow2', self._format())

    def test_format_that_may_be_the_overlays(self):
        self._taken()
        self._record({'format': 'qcow2'})
        self.assertEqual('raw', self._format())
        self._forge()
        self.assertRaises(exception.InvalidVolume, self._format)
        self._record({'format': 'raw'})
        self.assertEqual('raw', self._format())

    def test_nothing_is_recorded(self):
        self._record({})
        self.assertEqual('raw', self._format())
        self.assertEqual('raw', self.driver.initialize_connection(
            self.volume, {})['data']['format'])
        self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                         self._metadata())

    def test_nothing_is_recorded_of_what_may_be_forged(self):
        self._forge()
        self._record({})
        before = self._hash(self.path)
        snapshot = self._snapshot()
        for refused in (
                lambda: self.driver.initialize_connection(self.volume, {}),
                lambda: self.driver.create_snapshot(snapshot),
                lambda: self.driver.extend_volume(self.volume, 2)):
            self.assertRaises(exception.InvalidVolume, refused)
        self.driver.delete_snapshot(snapshot)  # there is nothing of it
        self.assertEqual({}, self._metadata())
        self.assertEqual({self.volume.name, self.volume.name + '.facade'},
                         set(os.listdir(self.folder)))
        self.assertEqual(before, self._hash(self.path))

    def test_backend_that_makes_qcow2(self):
        CONF.set_override('nfs_qcow2_volumes', True, 'nfs1')
        self.volume = self._volume()
        self.path = self._path(self.volume.name)
        self._record({})
        with self.assertLogs('chainkeeper_nfs', 'WARNING'):
            self.assertEqual('qcow2', self._format())

    def test_qcow2_volume_through_its_life(self):
        CONF.set_override('nfs_qcow2_volumes', True, 'nfs1')
        self.volume = self._volume()
        self.path = self._path(self.volume.name)
        self._write(self.path, '0', 7)
        before = self._seen(self.path, 'qcow2')
        one = self._taken()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        self.assertEqual((self.volume.name, 'qcow2'), self._header(overlay))
        self.driver.delete_snapshot(one)
        self.assertEqual('qcow2', self.driver.initialize_connection(
            self.volume, {})['data']['format'])
        self.assertEqual(before, self._seen(self.path, 'qcow2'))

    def test_stored_format_that_is_wrong_changes_nothing(self):
        self._record({'format': 'qcow2'})
        before = self._hash(self.path)
        self.assertRaises(processutils.ProcessExecutionError,
                          self.driver.initialize_connection, self.volume, {})
        self.assertEqual(before, self._hash(self.path))

    def test_volume_that_was_migrated(self):
        # The two rows have swapped their names.
        other = self._row(provider_location=SHARE, _name_id=SOME_ID)
        self._record({'base_format': 'vpc'}, other)
        moved = self._row(provider_location=SHARE, _name_id=other.id)
        self._record({'format': 'raw'}, moved)
        os.rename(self.path, self._path('volume-' + other.id))
        self.volume, self.path = moved, self._path('volume-' + other.id)
        self._forge()
        one = self._taken()
        self.assertEqual((moved.name, 'raw'), self._header(
            self._path('%s.%s' % (moved.name, one.id))))
        self.driver.delete_snapshot(one)

    def test_image(self):
        """Its content begins with a qcow2 header, which is the guest's."""
        for qcow2_volumes in (False, True):
            CONF.set_override('nfs_qcow2_volumes', qcow2_volumes, 'nfs1')
            self.volume = self._volume()
            self.path = self._path(self.volume.name)

            def fetch(_context, _service, _image, path, *_more, **_words):
                os.unlink(path)
                with open(path, 'wb') as volume_file:
                    volume_file.truncate(WRITTEN_MIB * units.Mi)
                self.bytes = self._forge()

            self._patch('cinder.image.image_utils.fetch_to_raw', fetch)
            self.driver.copy_image_to_volume(self.context, self.volume, None,
                                             SOME_ID)
            self.assertEqual({'format': 'raw', 'base_format': 'raw'},
                             self._metadata())
            self.assertEqual(units.Gi, os.path.getsize(self.path))
            self.assertEqual(self.bytes, self._hash(self.path))

    def test_report_that_comes_while_cinder_works(self):
        """What the filter stored meanwhile is not taken back."""
        with self.volume.obj_as_admin():
            self.assertEqual('raw', self.volume.admin_metadata['format'])
        self.driver._settle(self.volume)
        chainkeeper_nfs._now(self.volume).admin_metadata_update(
            {'base_format': 'raw', 'format': 'qcow2'}, False)
        with self.volume.obj_as_admin():
            self.volume.status = 'in-use'
            self.volume.save()
        self.assertEqual('qcow2', self._metadata()['format'])

    def test_header_that_names_a_file_of_another_volume(self):
        one = self._taken()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        for name in ('/etc/passwd', 'volume-other', '../x',
                     self.volume.name + '.A/../../x'):
            processutils.execute('qemu-img', 'rebase', '-u', '-f', 'qcow2',
                                 '-b', name, '-F', 'raw', overlay)
            self.assertRaises(exception.RemoteFSInvalidBackingFile,
                              self.driver.initialize_connection,
                              self.volume, {})

    def test_absolute_name_on_the_share(self):
        """As merges of older Novas leave it."""
        one = self._taken()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        processutils.execute('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b',
                             self.path, '-F', 'raw', overlay)
        self.driver.delete_snapshot(one)
        self.assertEqual({'active': self.volume.name}, self._info())


class RecordTest(DriverTest):
    """The .info, and what lies beside it."""

    def _dies(self, name):
        """Whatever was going to happen there does not."""
        return mock.patch(name, side_effect=KeyboardInterrupt)

    def test_death_while_it_is_written(self):
        self._taken()
        before = self._info()
        for name in ('json.dump', 'os.fsync'):
            snapshot = self._snapshot()
            with self._dies(name), self.assertRaises(KeyboardInterrupt):
                self.driver.create_snapshot(snapshot)
            self.assertEqual(before, self._info())
        self._taken()
        self.assertEqual(3, len(self._info()))
        self.assertFalse(os.path.exists(self.path + '.info.new'))

    def test_what_else_has_the_name_of_the_new_one(self):
        self._taken()
        before = self._info()
        new = self.path + '.info.new'
        elsewhere = os.path.join(CONF.state_path, 'nobody_has_this')
        for make in (lambda: os.mkfifo(new),
                     lambda: os.symlink(elsewhere, new)):
            make()
            with self.assertRaisesRegex(exception.InvalidVolume,
                                        'is no file: .*remove it'):
                self.driver.create_snapshot(self._snapshot())
            os.unlink(new)
        self.assertFalse(os.path.exists(elsewhere))
        self.assertEqual(before, self._info())
        self._taken()

    DEATHS = ('_rebase_img', '_note', '_write_info_file', '_finish',
              '_set_backing', '_delete')

    def _killed_in_a_merge(self, death):
        """A delete below another snapshot, and who does not survive it."""
        self.volume = self._volume()
        self.path = self._path(self.volume.name)
        one = self._taken(('8M', 1))
        two = self._taken(('16M', 2))
        below, top = [self._path('%s.%s' % (self.volume.name, taken.id))
                      for taken in (one, two)]
        before = self._seen(top, 'qcow2')
        with contextlib.ExitStack() as stack:
            if death == '_finish':  # not the one that comes before it
                stack.enter_context(mock.patch.object(
                    self.driver, '_finish',
                    side_effect=[None, KeyboardInterrupt]))
            else:
                stack.enter_context(self._dies(
                    'chainkeeper_nfs.NfsDriver.' + death))
            with self.assertRaises(KeyboardInterrupt):
                self.driver.delete_snapshot(one)
        self.assertEqual(before, self._seen(top, 'qcow2'))
        self.assertTrue(os.path.exists(below))
        self.assertEqual(self.DEATHS.index(death) < 3, one.id in self._info())
        return one, two, top, before

    def _whole(self, top, below):
        """The chain is what .info says, and nothing else is there."""
        self.assertEqual((os.path.basename(below), 'qcow2') if below else
                         (self.volume.name, 'raw'), self._header(top))
        self.assertEqual(
            {self.volume.name, self.volume.name + '.info',
             *self._info().values()},
            {name for name in os.listdir(self.folder)
             if name.startswith(self.volume.name)})

    def test_death_in_a_merge(self):
        """Wherever it comes, the guest has its data, and it can be retried."""
        for death in self.DEATHS:
            with self.subTest(death):
                one, two, top, before = self._killed_in_a_merge(death)
                self.driver.delete_snapshot(one)
                self.assertEqual(before, self._seen(top, 'qcow2'))
                self.assertEqual({'active', two.id}, set(self._info()))
                self._whole(top, None)
                # And all the rest of the volume's life.
                self.driver.delete_snapshot(two)
                info = self.driver.initialize_connection(self.volume, {})
                self.assertEqual(before, self._seen(
                    self._path(info['data']['name']), info['data']['format']))

    def test_merge_is_finished_before_a_guest_has_the_volume(self):
        """Or the snapshot above could not be deleted while it runs."""
        for death in self.DEATHS[2:]:
            with self.subTest(death):
                one, _two, top, before = self._killed_in_a_merge(death)
                below = self._info().get(one.id)
                self._attach()
                self.assertEqual(before, self._seen(top, 'qcow2'))
                self._whole(top, below)

    def test_delete_of_the_topmost_snapshot_that_was_killed(self):
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        with self._dies('chainkeeper_nfs.NfsDriver._delete'):
            with self.assertRaises(KeyboardInterrupt):
                self.driver.delete_snapshot(one)
        self.assertTrue(os.path.exists(overlay))
        info = self.driver.initialize_connection(self.volume, {})['data']
        self.assertEqual((self.volume.name, 'raw'),
                         (info['name'], info['format']))
        self.assertEqual(before, self._hash(self.path))
        self.assertEqual({self.volume.name, self.volume.name + '.info'},
                         set(os.listdir(self.folder)))

    def test_no_merge_is_finished_while_a_guest_has_the_volume(self):
        _one, two, top, _before = self._killed_in_a_merge('_set_backing')
        self.volume.update({'status': 'in-use', 'attach_status': 'attached'})
        self.volume.save()
        left = set(os.listdir(self.folder))
        header = self._header(top)
        self.driver.ensure_export(self.context, self.volume)
        self.driver.initialize_connection(self.volume, {})
        self._nova_says('error_deleting')
        two = objects.Snapshot.get_by_id(self.context, two.id)
        with self.assertRaises(exception.RemoteFSException):
            self.driver.delete_snapshot(two)
        self.assertEqual((left, header), (set(os.listdir(self.folder)),
                                          self._header(top)))

    def test_only_the_chain_that_was_noted_is_changed(self):
        """Another driver has worked on it meanwhile, or a person."""
        one, two, top, _before = self._killed_in_a_merge('_set_backing')
        below = self._path('%s.%s' % (self.volume.name, one.id))
        processutils.execute('qemu-img', 'commit', '-q', '-d', top)
        third = self._path(self.volume.name + '.' + SOME_ID)
        os.rename(top, third)
        os.unlink(self.path + '.info')
        with open(self.path + '.info', 'w') as info:
            name = os.path.basename(third)
            json.dump({'active': name, SOME_ID: name}, info)
        self._write(third, '20M', 3)
        self._write(below, '22M', 4)  # which is committed no more
        before = self._seen(third, 'qcow2')
        with self.assertLogs('chainkeeper_nfs', 'WARNING'):
            self.driver.initialize_connection(self.volume, {})
        self.assertEqual(before, self._seen(third, 'qcow2'))
        self.assertFalse(os.path.exists(self.path + '.info.merge'))

    def test_file_that_stands_on_another_than_was_noted_is_left_in_the_chain(
            self):
        one, _two, top, before = self._killed_in_a_merge('_set_backing')
        below = self._path('%s.%s' % (self.volume.name, one.id))
        base = self._path('%s.%s' % (self.volume.name, SOME_ID))
        os.rename(self.path, base)
        processutils.execute('qemu-img', 'create', '-u', '-f', 'qcow2', '-b',
                             os.path.basename(base), '-F', 'raw', self.path,
                             '1G')
        processutils.execute('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b',
                             os.path.basename(base), '-F', 'raw', below)
        with open(self.path + '.info') as info:
            names = json.load(info)
        self.driver._format_of = mock.Mock(side_effect=lambda path, _volume: (
            'raw' if path == base else 'qcow2'))
        with self.assertLogs('chainkeeper_nfs', 'WARNING'):
            self.driver.initialize_connection(self.volume, {})
        self.assertEqual(names, self._info())
        self.assertEqual(before, self._seen(top, 'qcow2'))

    def test_file_stays_where_the_one_above_is_out_of_sight(self):
        """Its pointer may still lead there: .info is an old one again."""
        one, _two, top, before = self._killed_in_a_merge('_set_backing')
        with open(self.path + '.info', 'w') as info:
            json.dump({'active': self.volume.name}, info)
        with self.assertLogs('chainkeeper_nfs', 'WARNING'):
            self.driver.initialize_connection(self.volume, {})
        self.assertEqual(before, self._seen(top, 'qcow2'))

    def test_note_that_is_torn(self):
        """Its writer died before .info, which still has everything."""
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        with open(self.path + '.info.merge', 'w') as note:
            note.write('{"file": "')
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual(before, self._seen(overlay, 'qcow2'))
        self._whole(overlay, None)

    def _opened_by_cinder(self, refuses):
        """What a user gets who is not root, whoever runs this test."""
        really = open

        def opened(path, mode='r', *more, **words):
            if 'w' in mode and refuses(path):
                raise PermissionError(errno.EACCES, 'Permission denied', path)
            return really(path, mode, *more, **words)

        return mock.patch('builtins.open', opened)

    def test_share_whose_root_is_roots(self):
        """Only root makes files in it, and lets Cinder's user write them."""
        one = self._taken(('8M', 1))
        two = self._taken(('16M', 2))
        top = self._path('%s.%s' % (self.volume.name, two.id))
        before = self._seen(top, 'qcow2')
        self.driver._execute = mock.Mock(side_effect=self._execute)
        with self._opened_by_cinder(lambda path: (
                os.path.dirname(path) == self.folder and
                not (os.path.exists(path) and
                     os.stat(path).st_mode & 0o666 == 0o666))):
            self.driver.delete_snapshot(one)
        self.assertEqual(before, self._seen(top, 'qcow2'))
        self._whole(top, None)
        note = self.path + '.info.merge'
        self.assertEqual(
            [mock.call('truncate', '-s0', note, run_as_root=True),
             mock.call('chmod', 'ugo+rw', note, run_as_root=True),
             mock.call('rm', '-f', note, run_as_root=True)],
            [call for call in self.driver._execute.mock_calls
             if call.args[-1] == note])

    def test_nothing_is_changed_where_no_note_can_be_written(self):
        one = self._taken(('8M', 1))
        base, names = self._hash(self.path), self._info()
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        with self._opened_by_cinder(lambda path: path.endswith('.merge')):
            self.assertRaises(PermissionError, self.driver.delete_snapshot,
                              one)
        self.assertEqual((base, names), (self._hash(self.path), self._info()))
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual(before, self._seen(overlay, 'qcow2'))
        self._whole(overlay, None)

    def test_note_that_the_driver_never_writes(self):
        """Whoever can write to the share could have root remove a file."""
        CONF.set_override('volume_name_template', 'volume.%s')
        self.addCleanup(CONF.clear_override, 'volume_name_template')
        self.volume = self._volume()
        self.path = self._path(self.volume.name)
        one, two = self._taken(), self._taken()
        name = self.volume.name
        gone, top = name + '.' + SOME_ID, '%s.%s' % (name, two.id)
        other = 'volume.%s.%s' % (SOME_ID, SOME_ID)
        outside = os.path.join(CONF.state_path, name + '.beef')
        files = [self._path(gone), self._path(other), outside,
                 self._path(name + '.mine')]
        merge = {'file': gone, 'above': top, 'into': name}
        notes = [
            [1], 1, None, 'x', [merge], {}, {'file': gone},
            {'file': 'x', 'above': None},
            {'above': None}, {'above': top, 'into': name},
            {'file': gone, 'above': top},
            {'file': gone, 'above': None, 'into': name},
            dict(merge, more='x'),
        ] + [dict(merge, **{key: value}) for key in merge for value in (
            outside, os.path.relpath(outside, self.folder), './' + gone,
            name + '.beef/../../x', other, name + '.mine', name + '.',
            name.replace('.', 'x') + '.beef', gone + '\n', '', None, 1,
            [gone], {gone: gone})] + [
            {'file': value, 'above': None} for value in (
                outside, os.path.relpath(outside, self.folder), other, name,
                name + '.mine', '', None, 1, [gone])]
        now = chainkeeper_nfs._now(self.volume)
        self.driver._execute = mock.Mock(side_effect=self._execute)
        for said in [json.dumps(note) for note in notes] + [
                '', '{"file": "', '[' * 100000, '\x80']:
            for path in files:
                open(path, 'w').close()
            with self.subTest(said[:300]):
                self.driver._execute.reset_mock()
                with open(self.path + '.info.merge', 'wb') as note:
                    note.write(said.encode('latin-1'))
                with self.assertLogs('chainkeeper_nfs', 'WARNING') as logs:
                    self.driver._finish(now)
                    self.driver._finish(now)
                self.assertEqual(1, len(logs.output), logs.output)
                self.assertIn('not believed', logs.output[0])
                self.assertEqual(
                    [mock.call('rm', '-f', self.path + '.info.merge',
                               run_as_root=True)],
                    self.driver._execute.mock_calls)
                self.assertEqual([], [path for path in files
                                      if not os.path.exists(path)])
        # And the same, as the driver writes it.
        for note in (dict(merge), {'file': gone, 'above': None},
                     dict(merge, into='%s.%s' % (name, one.id))):
            open(self._path(gone), 'w').close()
            with self.subTest(note):
                with open(self.path + '.info.merge', 'w') as written:
                    json.dump(note, written)
                with self.assertNoLogs('chainkeeper_nfs', 'WARNING'):
                    self.driver._finish(now)
                self.assertFalse(os.path.exists(self._path(gone)))

    def test_note_that_is_no_file(self):
        """What would be waited for, or written to by root elsewhere."""
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')
        base, names = self._hash(self.path), self._info()
        note = self.path + '.info.merge'
        elsewhere = os.path.join(CONF.state_path, 'elsewhere')
        whole = json.dumps({'file': os.path.basename(overlay), 'above': None})
        now = chainkeeper_nfs._now(self.volume)

        def link():
            with open(elsewhere, 'w') as target:
                target.write(whole)
            os.symlink(elsewhere, note)

        for make, unmake in ((lambda: os.mkfifo(note), os.unlink),
                             (lambda: os.mkdir(note), os.rmdir),
                             (link, os.unlink),
                             (lambda: os.symlink('nowhere', note), os.unlink)):
            make()
            self.driver._execute = mock.Mock(side_effect=self._execute)
            for what in (lambda: self.driver._finish(now),
                         lambda: self.driver.delete_snapshot(one),
                         lambda: self.driver._note(self.path, {})):
                with self.assertRaisesRegex(exception.InvalidVolume,
                                            'is no file: .*remove it'):
                    what()
            self.assertEqual([], self.driver._execute.mock_calls)
            unmake(note)
        with open(elsewhere) as target:
            self.assertEqual(whole, target.read())
        self.assertFalse(os.path.exists(self._path('nowhere')))
        self.assertEqual((base, names), (self._hash(self.path), self._info()))
        # One that is put there between the look and the opening.
        with mock.patch.object(chainkeeper_nfs, '_is_note', lambda _: True):
            os.mkfifo(note)
            self.assertEqual({}, chainkeeper_nfs._read_note(self.path))
            self.assertRaises(OSError, self.driver._note, self.path, {})
            os.unlink(note)
            link()
            for what in (lambda: chainkeeper_nfs._read_note(self.path),
                         lambda: self.driver._note(self.path, {})):
                self.assertRaises(OSError, what)
            os.unlink(note)
        with open(elsewhere) as target:
            self.assertEqual(whole, target.read())
        self.driver.delete_snapshot(one)
        self.assertEqual(before, self._hash(self.path))

    def test_nothing_is_said_of_a_note_while_a_guest_has_the_volume(self):
        self._attach()
        with open(self.path + '.info.merge', 'w') as note:
            note.write('[1]')
        with self.assertNoLogs('chainkeeper_nfs', 'WARNING'):
            self.driver._finish(self.volume)
        self.assertTrue(os.path.exists(self.path + '.info.merge'))

    def test_note_that_somebody_changes_in_the_middle(self):
        """What is merged is known from the chain, whatever lies there."""
        one = self._taken(('8M', 1))
        two = self._taken(('16M', 2))
        top = self._path('%s.%s' % (self.volume.name, two.id))
        before = self._seen(top, 'qcow2')
        rebase = self.driver._rebase_img

        def changed(*what):
            with open(self.path + '.info.merge', 'w') as note:
                note.write('[1]')
            rebase(*what)

        with mock.patch.object(self.driver, '_rebase_img', changed):
            self.driver.delete_snapshot(one)
        self.assertEqual(before, self._seen(top, 'qcow2'))
        self._whole(top, None)

    def test_note_of_a_commit_that_failed(self):
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        before = self._seen(overlay, 'qcow2')

        def execute(*command, **words):
            if 'commit' in command:
                raise processutils.ProcessExecutionError()
            return self._execute(*command, **words)

        with mock.patch.object(self.driver, '_execute', execute):
            self.assertRaises(processutils.ProcessExecutionError,
                              self.driver.delete_snapshot, one)
        self.assertTrue(os.path.exists(self.path + '.info.merge'))
        with self.assertNoLogs('chainkeeper_nfs', 'WARNING'):
            self.driver.initialize_connection(self.volume, {})
        self._whole(overlay, None)
        self.driver.delete_snapshot(one)
        self.assertEqual(before, self._hash(self.path))

    def test_committed_file_is_kept_by_whoever_still_names_it(self):
        one = self._taken(('8M', 1))
        overlay = self._path('%s.%s' % (self.volume.name, one.id))
        with mock.patch('chainkeeper_nfs.NfsDriver._write_info_file',
                        side_effect=OSError):
            self.assertRaises(OSError, self.driver.delete_snapshot, one)
        # What was noted holds no more once a guest has written to it.
        self.driver.initialize_connection(self.volume, {})
        self._write(overlay, '16M', 2)
        self._taken()
        before = self._seen(self._path(self._info()['active']), 'qcow2')
        self.driver.initialize_connection(self.volume, {})
        self.assertEqual(
            before, self._seen(self._path(self._info()['active']), 'qcow2'))
        for name in self._info().values():
            self.assertTrue(os.path.exists(self._path(name)))

    def test_rights_are_as_before(self):
        self._taken()
        self.assertEqual(0o666, os.stat(self.path + '.info').st_mode & 0o777)

    def test_files_that_a_deleted_volume_leaves(self):
        one = self._taken()
        with self.assertLogs('chainkeeper_nfs', 'WARNING') as logs:
            self.driver.delete_volume(self.volume)
        self.assertIn(self.path, logs.output[-1])
        self.assertNotIn(one.id, logs.output[-1])

    def test_nothing_is_said_of_one_that_leaves_none(self):
        with self.assertNoLogs('chainkeeper_nfs', 'WARNING'):
            self.driver.delete_volume(self.volume)

    def test_encrypted_volumes_are_left_to_the_stock_driver(self):
        self.volume.update({'encryption_key_id': SOME_ID})
        self.volume.save()
        snapshot = self._snapshot()
        stock = 'cinder.volume.drivers.nfs.NfsDriver.'
        for name, call in (
                ('_qemu_img_info', lambda: self.driver._qemu_img_info(
                    self.path, self.volume.name)),
                ('initialize_connection', lambda: (
                    self.driver.initialize_connection(self.volume, {}))),
                ('_do_create_snapshot', lambda: (
                    self.driver._do_create_snapshot(snapshot, 'a', 'b'))),
                ('_delete_snapshot_online', lambda: (
                    self.driver._delete_snapshot_online(None, snapshot, {}))),
                ('_copy_volume_to_image', lambda: (
                    self.driver._copy_volume_to_image(
                        None, self.volume, None, {}))),
                ('extend_volume', lambda: self.driver.extend_volume(
                    self.volume, 2)),
                ('_img_commit', lambda: self.driver._img_commit(
                    'a', passphrase_file='p', backing_file='b')),
                ('_rebase_img', lambda: self.driver._rebase_img(
                    'a', 'b', 'raw', 'p')),
                ('_copy_volume_from_snapshot', lambda: (
                    self.driver._copy_volume_from_snapshot(
                        snapshot, self.volume, 1, 'k', 'k')))):
            with self.subTest(name), mock.patch(stock + name) as stock_does:
                call()
                stock_does.assert_called_once()
        self.assertEqual({'format': 'raw'}, self._metadata())
