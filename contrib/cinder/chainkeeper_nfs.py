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

"""Cinder's NFS driver, which knows what its files are and asks none of them.

The stock driver has qemu-img (or a Python look-alike) tell the format of each
file from its content. The content of a raw volume is its guest's: one who
writes a qcow2 header to his disk decides what Cinder takes the disk for
(OSSA-2014-033). In cinder.conf, in the section of the backend:

    volume_driver = chainkeeper_nfs.NfsDriver

What a file is follows from who made it:

- all files but the one that has the volume's own name are overlays, which
  Cinder made as qcow2;
- the volume's own file is what it was made as, and stays that: `base_format`
  in the volume's admin metadata, as newer Cinders have it and as the compute
  side reports it (chainkeeper_api.py); else `format`, as long as that cannot
  be the format of an overlay.

Where neither says it (volumes of Cinders older than Wallaby, or whose record
an older Cinder spoiled) a file that does not begin as qcow2 does is raw, for
the stock driver makes nothing else. One that begins as qcow2 does may be a
guest's work. It is refused, and nothing happens to it, unless the backend is
told by nfs_qcow2_volumes to make its volumes qcow2: then it is taken for that,
with a warning.

What this cannot know: whether a format that is stored is wrong. Mostly
qemu-img fails then, which changes nothing; but a guest's header fits a
base_format that a newer stock driver stored as qcow2 for a merge that failed.
The row in volume_admin_metadata has to be put right. Encrypted volumes, and
what copies a volume as bytes (migration, backup), are left to the stock
driver.

Works with Cinder 21 (Zed) and newer: its tests pass on 21.3.1 and on
ab09bc39db (August 2026).
"""

import contextlib
import glob
import json
import os
import re
import stat

from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import imageutils
from oslo_utils import units

from cinder import context as cinder_context
from cinder import coordination
from cinder import exception
from cinder.i18n import _
from cinder.image import image_utils
from cinder import objects
from cinder.volume.drivers import nfs
from cinder.volume import throttling
from cinder.volume import volume_utils

LOG = logging.getLogger(__name__)

OVERLAY = 'qcow2'
QCOW2_MAGIC = b'QFI\xfb'
# Beside a volume's file: a merge of its chain that is not over.
NOTE = '.info.merge'


class NfsDriver(nfs.NfsDriver):
    """NFS driver that uses the stored formats wherever stock asks qemu-img."""

    def __init__(self, *args, **kwargs):
        super(NfsDriver, self).__init__(*args, **kwargs)
        # By snapshot: what was true before its merge began.
        self._before = {}

    # What a file is.

    def _format_of(self, path, volume):
        """The format of one file of the volume.

        Its data is asked last, and then can only say that it is raw.

        :param volume: as it is in the database now, with its admin metadata
        :raises: InvalidVolume where nothing that Cinder knows says it
        """
        if os.path.basename(path) != volume.name:
            return OVERLAY
        stored = volume.admin_metadata or {}
        if 'base_format' in stored:
            return stored['base_format']
        info = self._read_info_file(path + '.info', empty_if_missing=True)
        is_active = info.get('active', volume.name) == volume.name
        if 'format' in stored and (is_active or stored['format'] != OVERLAY):
            return stored['format']
        with open(path, 'rb') as volume_file:
            if volume_file.read(len(QCOW2_MAGIC)) != QCOW2_MAGIC:
                return 'raw'
        if not self.configuration.nfs_qcow2_volumes:
            raise exception.InvalidVolume(reason=_(
                "nobody recorded the format of %(path)s, and its qcow2 header "
                "may be its guest's. If Cinder made it, set "
                "nfs_qcow2_volumes.") % {'path': path})
        LOG.warning('Nobody recorded the format of %s; as this backend makes '
                    'its volumes qcow2, its header is believed.', path)
        return OVERLAY

    def _settle(self, volume, alone=True):
        """Stores what follows from Cinder's own records of the chain.

        :param alone: whether nobody else can change the chain now; else
                      an overlay may have been reported that nothing names
                      yet
        :returns: the formats of the file that the next guest is started
                  from, and of the lowest one
        """
        now = _now(volume)
        name = _attached(now) if self._is_volume_attached(now) else None
        active = os.path.join(self._local_volume_dir(now),
                              name or self.get_active_image_from_info(now))
        own = self._local_path_volume(now)
        lowest = self._format_of(own, now) if os.path.exists(own) else OVERLAY
        formats = {'format': self._format_of(active, now),
                   'base_format': lowest}
        if not alone and (now.admin_metadata or {}).get('format') == OVERLAY:
            formats['format'] = OVERLAY
        _store(volume, formats)
        return formats

    def _look(self, path, volume):
        """What qemu-img says of a file whose format it is told."""
        out, _err = self._execute(
            'env', 'LC_ALL=C', 'qemu-img', 'info',
            '-f', self._format_of(path, volume), '--force-share',
            '--output=json', path,
            run_as_root=True, prlimit=image_utils.QEMU_IMG_LIMITS)
        info = imageutils.QemuImgInfo(out, format='json')
        if info.image:
            info.image = os.path.basename(info.image)
        if info.backing_file:
            own = r'(%s/[0-9a-f]+/)?%s(\.(tmp-snap-)?[0-9a-f-]+)?' % (
                re.escape(self.configuration.nfs_mount_point_base),
                re.escape(volume.name))
            if not re.fullmatch(own, info.backing_file):
                raise exception.RemoteFSInvalidBackingFile(
                    path=path, backing_file=info.backing_file)
            info.backing_file = os.path.basename(info.backing_file)
        return info

    def _qemu_img_info(self, path, volume_name, *args, **kwargs):
        volume = _named(volume_name)
        if volume.encryption_key_id:
            return super(NfsDriver, self)._qemu_img_info(path, volume_name,
                                                         *args, **kwargs)
        return self._look(path, volume)

    def _chain(self, path, volume):
        """A file and all below it: each one's path, and what it says."""
        found = []
        while path:
            info = self._look(path, volume)
            found.append((path, info))
            path = info.backing_file and os.path.join(os.path.dirname(path),
                                                      info.backing_file)
        return found

    def _image(self, path, volume):
        """A file as qemu-img is told it: with all below it, and every format.

        No header is believed that an older Cinder wrote after a guess.
        """
        image = None
        for file_path, info in reversed(self._chain(path, volume)):
            below, image = image, {
                'driver': info.file_format,
                'file': {'driver': 'file', 'filename': file_path}}
            if below or info.file_format == OVERLAY:
                image['backing'] = below
        return 'json:' + json.dumps(image)

    # Attaching.

    def initialize_connection(self, volume, connector):
        if volume.encryption_key_id:
            pass
        elif self._is_volume_attached(volume):
            # As for a migration. Its lock may be held as long as a merge is.
            self._settle(volume, alone=False)
        else:
            self._mend(volume)
        return super(NfsDriver, self).initialize_connection(volume, connector)

    def ensure_export(self, ctx, volume):
        """At the start of cinder-volume, for each volume that is in use.

        Whatever was under way is given up: what was reported of it may hold
        no more. And an older Cinder may have left raw as the format of an
        overlay (LP 1989514).
        """
        super(NfsDriver, self).ensure_export(ctx, volume)
        if volume.encryption_key_id:
            return
        try:
            self._settle(volume)
        except Exception:
            # Or Cinder calls the volume an error.
            LOG.exception('The formats of volume %s are not known', volume.id)

    @coordination.synchronized('{self.driver_prefix}-{volume.id}')
    def _mend(self, volume):
        """Sets formats right that an older Cinder guessed into headers.

        The guest's QEMU will believe them.
        """
        self._settle(volume)
        self._finish(volume)
        now = _now(volume)
        chain = self._chain(self._local_path_active_image(now), now)
        for (path, info), (_below, truth) in zip(chain, chain[1:]):
            if info.backing_file_format != truth.file_format:
                LOG.warning('%(path)s calls its backing file %(said)s, which '
                            'is %(format)s', {
                                'path': path,
                                'said': info.backing_file_format,
                                'format': truth.file_format})
                self._set_backing(path, info.backing_file, truth.file_format)

    # Snapshots.

    def _create_snapshot(self, snapshot):
        if snapshot.volume.encryption_key_id:
            return super(NfsDriver, self)._create_snapshot(snapshot)
        self._settle(snapshot.volume)
        try:
            return super(NfsDriver, self)._create_snapshot(snapshot)
        except Exception:
            # The overlay may have been reported; nobody will use it.
            with excutils.save_and_reraise_exception():
                self._settle(snapshot.volume)

    def _do_create_snapshot(self, snapshot, backing_filename, new_snap_path):
        if snapshot.volume.encryption_key_id:
            return super(NfsDriver, self)._do_create_snapshot(
                snapshot, backing_filename, new_snap_path)
        now = _now(snapshot.volume)
        backing_path = os.path.join(self._local_volume_dir(now),
                                    backing_filename)
        # -u: nothing below is opened. So the name can be relative at once,
        # and is never left absolute.
        self._execute('qemu-img', 'create', '-u', '-f', OVERLAY,
                      '-b', backing_filename,
                      '-F', self._format_of(backing_path, now),
                      new_snap_path, '%dG' % now.size,
                      run_as_root=self._execute_as_root)
        self._set_rw_permissions(new_snap_path)
        if self.secure_file_operations_enabled():
            self._execute('chown', '--reference=%s' % backing_path,
                          new_snap_path, run_as_root=self._execute_as_root)

    def _create_snapshot_online(self, snapshot, backing_filename,
                                new_snap_path):
        super(NfsDriver, self)._create_snapshot_online(
            snapshot, backing_filename, new_snap_path)
        volume = snapshot.volume
        if volume.encryption_key_id:
            return
        # Before anything names the overlay: a guest that is started from it
        # as if it were raw would write over its header.
        _store(volume, {'format': OVERLAY})
        for attachment in volume.volume_attachment[:1]:
            # Cinder puts the new name beside it, and saves both at once.
            if attachment.connection_info:
                attachment.connection_info['format'] = OVERLAY

    def _delete_snapshot_online(self, context, snapshot, info):
        volume = snapshot.volume
        if volume.encryption_key_id:
            return super(NfsDriver, self)._delete_snapshot_online(
                context, snapshot, info)
        self._before[snapshot.id] = self._settle(volume)
        try:
            super(NfsDriver, self)._delete_snapshot_online(
                context, snapshot, info)
        finally:
            del self._before[snapshot.id]
        if info['active_file'] == info['snapshot_file'] and (
                info['base_id'] is None):
            # All was pulled into it: now it is the lowest one.
            _store(volume, {'base_format': OVERLAY})

    def _nova_assisted_vol_snap_delete(self, context, snapshot, delete_info):
        before = self._before.get(snapshot.id)
        if before:
            # Newer Cinders have just stored what will be true when this is
            # done. If it fails, it never is.
            _store(snapshot.volume, before)
        super(NfsDriver, self)._nova_assisted_vol_snap_delete(
            context, snapshot, delete_info)

    # A merge of Cinder's own: first the data, then .info, then the pointer,
    # and last the file goes. What is yet to be done lies beside .info, for
    # whoever comes after one that was killed.

    def _delete_snapshot(self, snapshot):
        if snapshot.volume.encryption_key_id:
            return super(NfsDriver, self)._delete_snapshot(snapshot)
        self._finish(snapshot.volume)
        super(NfsDriver, self)._delete_snapshot(snapshot)
        self._finish(snapshot.volume)

    def _img_commit(self, path, passphrase_file=None, backing_file=None):
        if passphrase_file:
            return super(NfsDriver, self)._img_commit(path, passphrase_file,
                                                      backing_file)
        image = self._image(path, _owner(path))
        # As long as the overlay above or .info names it, it must be there.
        # Before the commit: where no note can be written nothing is changed,
        # and one whose file .info still names is only thrown away.
        self._note(path.rpartition('.')[0],
                   {'file': os.path.basename(path), 'above': None})
        # -d: it is not emptied, so that this can be done again.
        self._execute('qemu-img', 'commit', '-d', image,
                      run_as_root=self._execute_as_root)

    def _rebase_img(self, image, backing_file, volume_format,
                    passphrase_file=None):
        if passphrase_file:
            return super(NfsDriver, self)._rebase_img(
                image, backing_file, volume_format, passphrase_file)
        volume_path = image.rpartition('.')[0]
        # What was committed is what the one above still stands on.
        merged = self._look(image, _owner(image)).backing_file
        self._note(volume_path, {'file': merged,
                                 'above': os.path.basename(image),
                                 'into': backing_file})

    def _note(self, volume_path, merge):
        path = volume_path + NOTE
        if not _is_note(path):
            # As stock makes .info: where the folder is root's, Cinder's own
            # user may write to a file there, and cannot make one.
            self._execute('truncate', '-s0', path,
                          run_as_root=self._execute_as_root)
            self._set_rw_permissions(path)
        with open(path, 'w', opener=_no_other) as note:
            json.dump(merge, note)
            note.flush()
            os.fsync(note.fileno())
        _sync(os.path.dirname(path))

    def _finish(self, volume):
        """Does what is left of a merge, once .info names its file no more.

        Nobody else may work on the volume. While a guest has it nothing is
        done, nor to a chain that is not the one that was noted.
        """
        now = _now(volume)
        own = self._local_path_volume(now)
        merge = None if self._is_volume_attached(now) else _read_note(own)
        if merge is None:
            return
        info = self._read_info_file(own + '.info')
        # Else it did not come to .info, and will be done anew.
        if merge and merge['file'] not in info.values():
            self._end_merge(now, **merge)
        self._delete(own + NOTE)

    def _end_merge(self, volume, file, above, into=None):
        folder = self._local_volume_dir(volume)
        chain = [os.path.basename(path) for path, _info in self._chain(
            self._local_path_active_image(volume), volume)]
        at = chain.index(file) if file in chain else 0
        if at and chain[at - 1:at + 2] == [above, file, into]:
            self._set_backing(
                os.path.join(folder, above), into,
                self._format_of(os.path.join(folder, into), volume))
            del chain[at]
        if file not in chain and (above is None or above in chain):
            self._delete(os.path.join(folder, file))
        else:
            LOG.warning('%(file)s of volume %(id)s was merged, and is left '
                        'where it is: the chain is %(chain)s', {
                            'file': file, 'id': volume.id, 'chain': chain})

    def _set_backing(self, image, backing_file, volume_format):
        self._execute('qemu-img', 'rebase', '-u', '-f', OVERLAY,
                      '-b', backing_file, '-F', volume_format, image,
                      run_as_root=self._execute_as_root)

    def _write_info_file(self, info_path, snap_info):
        """Changes Cinder's record of the chain in one step.

        Whoever is killed leaves the old one or the new one, and the guest
        has all its data by each.
        """
        volume = _owner(info_path)
        if 'active' in snap_info and not volume.encryption_key_id:
            active = os.path.join(os.path.dirname(info_path),
                                  snap_info['active'])
            _store(volume, {'format': self._format_of(active, volume)})
        new_path = info_path + '.new'
        _is_file(new_path, _('the driver writes it anew there'))
        super(NfsDriver, self)._write_info_file(new_path, snap_info)
        _sync(new_path)
        self._execute('mv', '-f', '-T', new_path, info_path,
                      run_as_root=self._execute_as_root)
        _sync(os.path.dirname(info_path))

    # Copies, and the volume itself.

    def _convert(self, path, volume, dest, out_format, *options):
        with throttling.Throttle.get_default().subcommand(path, dest) as told:
            command = list(told['prefix']) + ['qemu-img', 'convert']
            self._execute(*command, '-O', out_format, *options,
                          self._image(path, volume), dest,
                          run_as_root=self._execute_as_root)

    def _copy_volume_from_snapshot(self, snapshot, volume, volume_size,
                                   src_encryption_key_id=None,
                                   new_encryption_key_id=None):
        if src_encryption_key_id or new_encryption_key_id:
            return super(NfsDriver, self)._copy_volume_from_snapshot(
                snapshot, volume, volume_size, src_encryption_key_id,
                new_encryption_key_id)
        source = _now(snapshot.volume)
        folder = self._local_volume_dir(source)
        info = self._read_info_file(self._local_path_volume_info(source))
        # The snapshot is what its own file stands on.
        overlay = self._look(os.path.join(folder, info[snapshot.id]), source)
        dest = self._local_path_volume(volume)
        self._convert(os.path.join(folder, overlay.backing_file), source, dest,
                      self._made_as())
        self._set_rw_permissions_for_all(dest)

    def _made_as(self):
        return OVERLAY if self.configuration.nfs_qcow2_volumes else 'raw'

    def _create_cloned_volume(self, volume, src_vref, context):
        update = super(NfsDriver, self)._create_cloned_volume(
            volume, src_vref, context)
        if not volume.encryption_key_id:
            # Cinder has stored what the active file of the source is.
            _store(volume, {'format': self._made_as(),
                            'base_format': self._made_as()})
        return update

    def copy_image_to_volume(self, context, volume, image_service, image_id,
                             **kwargs):
        path = self.local_path(volume)
        image_utils.fetch_to_raw(context, image_service, image_id, path,
                                 self.configuration.volume_dd_blocksize,
                                 size=volume.size,
                                 run_as_root=self._execute_as_root, **kwargs)
        # Whatever it was made as. The image's content may begin with a header.
        _store(volume, {'format': 'raw', 'base_format': 'raw'})
        self._resize(path, _now(volume), volume.size)

    def _copy_volume_to_image(self, context, volume, image_service, image_meta,
                              *args, **kwargs):
        if volume.encryption_key_id:
            return super(NfsDriver, self)._copy_volume_to_image(
                context, volume, image_service, image_meta, *args, **kwargs)
        image_format = image_meta['disk_format']
        image_utils.check_image_conversion_disable(
            image_format, 'raw', image_meta['id'], upload=True)
        now = _now(volume)
        active = self._local_path_active_image(now)
        with contextlib.ExitStack() as stack:
            upload_path = active
            if (self._format_of(active, now), image_format) != ('raw', 'raw'):
                upload_path = stack.enter_context(image_utils.temporary_file(
                    prefix='%s.temp_image.%s' % (volume.id, image_meta['id']),
                    suffix='.img'))
                self._convert(active, now, upload_path,
                              image_utils.fixup_disk_format(image_format),
                              *_compressed(image_format))
            volume_utils.upload_volume(
                context, image_service, image_meta, upload_path, volume,
                volume_format=image_format, run_as_root=self._execute_as_root)

    def extend_volume(self, volume, new_size):
        if volume.encryption_key_id:
            return super(NfsDriver, self).extend_volume(volume, new_size)
        if self._is_volume_attached(volume):
            raise exception.ExtendVolumeError(reason=_(
                "volume %s is attached") % volume.id)
        if not self._is_share_eligible(volume.provider_location,
                                       int(new_size) - volume.size):
            raise exception.ExtendVolumeError(reason=_(
                "not enough space for volume %s") % volume.id)
        now = _now(volume)
        self._resize(self._local_path_active_image(now), now, new_size)

    def _resize(self, path, volume, size):
        self._execute('qemu-img', 'resize', self._image(path, volume),
                      '%sG' % size, run_as_root=self._execute_as_root)
        if self._look(path, volume).virtual_size != int(size) * units.Gi:
            raise exception.ExtendVolumeError(reason=_(
                "%s has another size than it was given") % path)

    def delete_volume(self, volume):
        super(NfsDriver, self).delete_volume(volume)
        if not volume.provider_location:
            return
        path = self._local_path_volume(volume)
        left = glob.glob(glob.escape(path)) + glob.glob(
            glob.escape(path) + '.*')
        if left:
            LOG.warning('Volume %(id)s is deleted. These files of it are '
                        'left, for no record names them: %(left)s',
                        {'id': volume.id, 'left': ', '.join(sorted(left))})


def _now(volume):
    """The volume as the database has it: a report may just have come."""
    return objects.Volume.get_by_id(cinder_context.get_admin_context(),
                                    volume.id)


def _attached(volume):
    """The file that a guest has by its attachment; None without one.

    Cinder shows `format` beside it, and changes it a moment before .info.
    """
    infos = [attachment.connection_info or {}
             for attachment in volume.volume_attachment or []]
    return next((info['name'] for info in infos if 'name' in info), None)


def _named(volume_name):
    """The volume with this name, which a migration may have changed."""
    context = cinder_context.get_admin_context()
    name_id = volume_utils.extract_id_from_volume_name(volume_name)
    with contextlib.suppress(exception.VolumeNotFound):
        volume = objects.Volume.get_by_id(context, name_id)
        if volume.name == volume_name:
            return volume
    for volume in objects.VolumeList.get_all(context,
                                             filters={'_name_id': name_id}):
        return volume
    raise exception.VolumeNotFound(volume_id=name_id)


def _owner(path):
    """The volume of an overlay or an .info: no snapshot's id has a dot."""
    return _named(os.path.basename(path).rpartition('.')[0])


def _store(volume, formats):
    """Adds to the admin metadata, in the database and in this object."""
    now = _now(volume)
    stored = dict(now.admin_metadata or {})
    if any(stored.get(key) != value for key, value in formats.items()):
        LOG.info('Volume %(id)s: %(formats)s, was %(stored)s',
                 {'id': volume.id, 'formats': formats, 'stored': stored})
        now.admin_metadata_update(formats, False)
    # One that was loaded for a user has none, and what Cinder then saves of
    # it takes all else away.
    volume.admin_metadata = dict(stored, **formats)
    volume.obj_reset_changes(['admin_metadata'])


def _read_note(volume_path):
    """What is left of a merge; None where there is none.

    Empty where one was killed who was writing it, before .info; and where
    it says what the driver never writes. Whoever can write to the share
    could have made it, and what it names is changed and removed by root.

    :raises: InvalidVolume where it is no file
    """
    if not _is_note(volume_path + NOTE):
        return None
    try:
        with open(volume_path + NOTE, opener=_no_other) as note:
            merge = json.load(note)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        merge = None
    if _is_merge_of(os.path.basename(volume_path), merge):
        return merge
    LOG.warning('%s is no note of a merge, and is not believed',
                volume_path + NOTE)
    return {}


def _is_note(path):
    """Whether there is one."""
    return _is_file(path, _('the driver notes a merge there that is not over'))


def _is_file(path, what):
    """Whether it is there; what else has its name is refused.

    Whoever opened a FIFO would wait for ever, with the volume's lock, and
    root would write to where a link leads.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise exception.InvalidVolume(reason=_(
            '%(path)s is no file: %(what)s. Look who made it, and remove '
            'it.') % {'path': path, 'what': what})
    return True


def _no_other(path, flags):
    """Opens nothing that was put there since it was looked at."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_merge_of(volume_name, merge):
    """Whether all that it names are files of the volume, in its folder."""
    if not isinstance(merge, dict):
        return False
    own = re.escape(volume_name)
    overlay = own + r'\.[0-9a-f-]+'
    named = {'file': overlay}
    if merge.get('above') is not None:
        named.update(above=overlay, into='%s|%s' % (own, overlay))
    return set(merge) == {'above', *named} and all(
        isinstance(merge[key], str) and re.fullmatch(pattern, merge[key])
        for key, pattern in named.items())


def _compressed(image_format):
    wanted = image_utils.CONF.image_compress_on_upload and (
        image_format in image_utils.COMPRESSIBLE_IMAGE_FORMATS)
    return ['-c'] if wanted else []


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
