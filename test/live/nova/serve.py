"""Nova's compute side, as far as Cinder's assisted snapshots go.

A driver of Debian's unmodified Nova does the work, loaded as nova-compute loads it; around it is as
little as it can do with: the two calls of os-assisted-volume-snapshots over HTTP, one instance for
each guest, a mapping of the volume that is kept in memory, and a client of Cinder's REST API.

usage: serve.py PORT CINDER_ENDPOINT TOKEN PROJECT LIBVIRT_URI DRIVER [MODULE_PATH SOCKET]
"""

import eventlet

eventlet.monkey_patch()  # before whatever takes sockets and threads as they were

import http.server  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import types  # noqa: E402
import urllib.parse  # noqa: E402
import urllib.request  # noqa: E402

import libvirt  # noqa: E402
import nova.virt  # noqa: E402
from nova import conf  # noqa: E402
from nova import context  # noqa: E402
from nova import objects  # noqa: E402
from nova.objects import block_device  # noqa: E402
from nova.virt import driver  # noqa: E402
from nova.virt import fake  # noqa: E402
from nova.volume import cinder  # noqa: E402

PORT, CINDER, TOKEN, PROJECT, URI, DRIVER = sys.argv[1:7]
MAPPINGS = {}
INSTANCES = {}


class VolumeSnapshots(object):
    """python-cinderclient's, as far as Nova uses it here."""

    @staticmethod
    def update_snapshot_status(snapshot_id, words):
        ask('POST', '/snapshots/%s/action' % snapshot_id, {'os-update_snapshot_status': words})


class VolumeApi(cinder.API):
    """Nova's own, but for the client that wants a Keystone."""

    def get_snapshot(self, _context, snapshot_id):
        return ask('GET', '/snapshots/%s' % snapshot_id)['snapshot']

    def attachment_get(self, _context, attachment_id):
        found = ask('GET', '/attachments/%s' % attachment_id)['attachment']
        return cinder._translate_attachment_ref(found)


class Mapping(block_device.BlockDeviceMapping):
    """A row of Nova's block device mapping; there is no database."""

    def save(self):
        self.obj_reset_changes()


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {'X-Auth-Token': TOKEN, 'Content-Type': 'application/json',
               'OpenStack-API-Version': 'volume 3.65'}
    url = '%s/v3/%s%s' % (CINDER, PROJECT, path)
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def xml_of(guest):
    """Another test's guest may have gone since they were listed."""
    try:
        return guest.get_xml_desc()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return ''


def instance_with(volume_id):
    """Nova knows from its database which instance has a volume; here it is asked for once."""
    if volume_id not in INSTANCES:
        INSTANCES[volume_id] = next(
            guest.uuid for guest in NOVA._host.list_guests(only_running=False)
            if volume_id in xml_of(guest))
    return objects.Instance(uuid=INSTANCES[volume_id], system_metadata={}, image_ref='')


def mapping(_context, volume_id, _instance_uuid):
    if volume_id not in MAPPINGS:
        volume = ask('GET', '/volumes/%s' % volume_id)['volume']
        attachment_id = volume['attachments'][0]['attachment_id']
        MAPPINGS[volume_id] = Mapping(
            context.get_admin_context(), id=1, uuid=volume_id, volume_id=volume_id,
            attachment_id=attachment_id,
            connection_info='{"as it was": "when it was attached"}',
            source_type='volume', destination_type='volume', device_type='disk', disk_bus='virtio',
            guest_format=None, boot_index=None, delete_on_termination=False, device_name='/dev/vda',
            volume_size=1, volume_type=None, image_id=None, snapshot_id=None, no_device=False,
            tag=None)
    return MAPPINGS[volume_id]


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = re.search('/mappings/([^/]+)$', self.path)
        at = found and MAPPINGS.get(found.group(1))
        self.answer(200, json.loads(at.connection_info) if at else {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))['snapshot']
        info = asked['create_info']
        volume_id = asked['volume_id']
        self.cast(NOVA.volume_snapshot_create, volume_id, info)
        self.answer(200, {'snapshot': {'id': None, 'volumeId': volume_id}})

    def do_DELETE(self):
        url = urllib.parse.urlparse(self.path)
        snapshot_id = re.search('([^/]+)$', url.path).group(1)
        info = json.loads(urllib.parse.parse_qs(url.query)['delete_info'][0])
        self.cast(NOVA.volume_snapshot_delete, info['volume_id'], snapshot_id, info)
        self.answer(204, None)

    def cast(self, what, volume_id, *words):
        """nova-api hands it to nova-compute, and answers without waiting."""
        work = (context.get_admin_context(), instance_with(volume_id), volume_id) + words
        threading.Thread(target=what, args=work, daemon=True).start()

    def answer(self, status, body):
        text = b'' if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words):
        pass


conf.CONF([], project='nova', default_config_files=[])
conf.CONF.set_override('connection_uri', URI, 'libvirt')
conf.CONF.set_override('virt_type', 'qemu', 'libvirt')
objects.register_all()
objects.BlockDeviceMapping.get_by_volume_and_instance = mapping
cinder.cinderclient = lambda _context, **_words: types.SimpleNamespace(
    volume_snapshots=VolumeSnapshots)
if len(sys.argv) > 7:
    nova.virt.__path__.append(sys.argv[7])  # where a package would have put the file
NOVA = driver.load_compute_driver(fake.FakeVirtAPI(), DRIVER)
NOVA._volume_api = VolumeApi()
if len(sys.argv) > 8:
    conf.CONF.set_override('socket', sys.argv[8], 'chainkeeper')
http.server.ThreadingHTTPServer(('127.0.0.1', int(PORT)), Api).serve_forever()
