"""Nova's compute side, as far as Cinder's assisted snapshots go.

Debian's unmodified nova.virt.libvirt.driver.LibvirtDriver does the work; around it is as little as
it can do with: the two calls of os-assisted-volume-snapshots over HTTP, an instance that is known
by its uuid, and a volume API that tells Cinder what nova/volume/cinder.py tells it.

usage: serve.py PORT CINDER_ENDPOINT TOKEN PROJECT LIBVIRT_URI
"""

import http.server
import json
import re
import sys
import threading
import urllib.parse
import urllib.request

import eventlet

eventlet.monkey_patch()

from nova import conf  # noqa: E402
from nova import objects  # noqa: E402
from nova.virt import fake  # noqa: E402
from nova.virt.libvirt import driver  # noqa: E402

PORT, CINDER, TOKEN, PROJECT, URI = sys.argv[1:]


class VolumeApi(object):
    """What nova.volume.cinder.API says, with a plain HTTP client."""

    def update_snapshot_status(self, _context, snapshot_id, status):
        words = {'status': status, 'progress': '90%'}  # nova/volume/cinder.py
        body = {'os-update_snapshot_status': words}
        ask('POST', '/snapshots/%s/action' % snapshot_id, body)

    def get_snapshot(self, _context, snapshot_id):
        return ask('GET', '/snapshots/%s' % snapshot_id)['snapshot']


class Driver(driver.LibvirtDriver):
    """The database of Nova's compute service is not here: nothing else is replaced."""

    def __init__(self):
        super(Driver, self).__init__(fake.FakeVirtAPI())
        self._volume_api = VolumeApi()

    def _volume_refresh_connection_info(self, _context, _instance, _volume_id):
        pass


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {'X-Auth-Token': TOKEN, 'Content-Type': 'application/json'}
    url = '%s/v3/%s%s' % (CINDER, PROJECT, path)
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def instance_with(nova, volume_id):
    """Nova knows from its database which instance has a volume."""
    for guest in nova._host.list_guests(only_running=False):
        if volume_id in guest.get_xml_desc():
            made = objects.Instance(uuid=guest.uuid, system_metadata={})
            return made
    raise LookupError('no guest has %s' % volume_id)


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {})

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
        work = (None, instance_with(NOVA, volume_id), volume_id) + words
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
NOVA = Driver()
http.server.ThreadingHTTPServer(('127.0.0.1', int(PORT)), Api).serve_forever()
