// `npm run deb`: Debian packages of this checkout, in build/, by dpkg-deb alone. debhelper would have
// to be installed first, and what it would do for us is forty lines of shell (contrib/debian).
//
// The same checkout makes the same bytes: times are the last commit's, or SOURCE_DATE_EPOCH.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ARCHITECTURE, control, VERSION, when } from './deb/control.mjs';
import { copyright } from './deb/copyright.mjs';
import { NODE, productionPackages, runs } from './deb/packages.mjs';
import { root } from './deb/root.mjs';

const at = (...parts) => join(root, ...parts);
const work = at('build/deb');
const LIB = 'usr/lib/chainkeeper';
const PYTHON = 'usr/lib/python3/dist-packages';

process.umask(0o022);
rmSync(work, { recursive: true, force: true });
const built = build();
process.stdout.write(
  [
    pack('chainkeeper', ARCHITECTURE, service),
    pack('chainkeeper-nova', 'all', nova),
    pack('chainkeeper-cinder', 'all', cinder),
  ].join(''),
);

/** dist/ is made of a copy: who packs for npm meanwhile has the checkout's own. */
function build() {
  const copy = join(work, 'source');
  const wanted = ['package.json', 'tsconfig.json', 'tsconfig.base.json', 'src', 'sim'];
  for (const part of [...wanted, 'scripts/pack.mjs']) {
    mkdirSync(dirname(join(copy, part)), { recursive: true });
    cpSync(at(part), join(copy, part), { recursive: true, filter: (it) => !made(it) });
  }
  symlinkSync(at('node_modules'), join(copy, 'node_modules'));
  run(process.execPath, [join(copy, 'scripts/pack.mjs')]);
  return join(copy, 'dist');
}

function service(put) {
  put('bin/chainkeeper.js', `${LIB}/bin/chainkeeper.js`, {
    mode: 0o755,
    // No other Node may run it, whatever is first on somebody's path.
    change: (text) => text.replace(/^#!.*/, `#!/${LIB}/node`),
  });
  put('package.json', `${LIB}/package.json`);
  put(NODE.binary, `${LIB}/node`, { mode: 0o755 });
  put.tree(built, `${LIB}/dist`, (path) => !/^share$|\.(d\.ts|tsbuildinfo|map)$/.test(path));
  for (const { path } of productionPackages()) put.tree(at(path), `${LIB}/${path}`, runs);
  put.link('../lib/chainkeeper/bin/chainkeeper.js', 'usr/bin/chainkeeper');

  put('contrib/systemd/chainkeeper.service', 'lib/systemd/system/chainkeeper.service');
  put('contrib/debian/chainkeeper.conf', 'etc/chainkeeper/chainkeeper.conf', { mode: 0o640 });
  put.folder('etc/chainkeeper/chainkeeper.conf.d');
  put('contrib/libvirt/chainkeeper', 'etc/libvirt/hooks/qemu.d/chainkeeper', { mode: 0o755 });

  const share = (file) => join(built, 'share', file);
  put(share('chainkeeper.1'), 'usr/share/man/man1/chainkeeper.1.gz');
  put(share('chainkeeper.conf.5'), 'usr/share/man/man5/chainkeeper.conf.5.gz');
  put(share('chainkeeper.bash'), 'usr/share/bash-completion/completions/chainkeeper');

  const doc = 'usr/share/doc/chainkeeper';
  put('contrib/debian/README.Debian', `${doc}/README.Debian`);
  put('README.md', `${doc}/README.md.gz`);
  put('CHANGELOG.md', `${doc}/changelog.gz`);
  for (const file of readdirSync(at('docs')).filter((it) => it.endsWith('.md'))) {
    put(`docs/${file}`, `${doc}/${file}.gz`);
  }
  const examples = `${doc}/examples`;
  put(share('chainkeeper.conf.sample'), `${examples}/chainkeeper.conf.sample`);
  put('contrib/debian/policy.yaml', `${examples}/policy.yaml`);
  for (const folder of ['prometheus', 'haproxy', 'kolla']) {
    put.tree(at('contrib', folder), `${examples}/${folder}`, () => true);
  }
  put('contrib/debian/chainkeeper.lintian-overrides', 'usr/share/lintian/overrides/chainkeeper', {
    change: (text) => text.replace(/^(?=[a-z])/gm, 'chainkeeper: '),
  });
}

function nova(put) {
  put('contrib/nova/chainkeeper.py', `${PYTHON}/nova/virt/chainkeeper.py`);
}

function cinder(put) {
  for (const file of ['chainkeeper_api.py', 'chainkeeper_nfs.py']) {
    put(`contrib/cinder/${file}`, `${PYTHON}/${file}`);
  }
}

/** One binary package: its files by `fill`, and what every package has. Says where it is. */
function pack(name, architecture, fill) {
  const tree = join(work, name);
  const put = putter(tree);
  fill(put);
  const doc = `usr/share/doc/${name}`;
  put.text(copyright(name, LIB), `${doc}/copyright`);
  put.text(changelog(name), `${doc}/changelog.Debian.gz`);

  const debian = readdirSync(at('contrib/debian'));
  for (const script of ['postinst', 'prerm', 'postrm', 'triggers']) {
    const from = [`${name}.${script}`, `python.${script}`].find((it) => debian.includes(it));
    const mode = script === 'triggers' ? 0o644 : 0o755;
    if (from) put(`contrib/debian/${from}`, `DEBIAN/${script}`, { mode });
  }
  const files = filesIn(tree).filter((path) => !path.startsWith('DEBIAN/'));
  const conffiles = files.filter((path) => path.startsWith('etc/'));
  if (conffiles.length > 0) put.text(lines(conffiles.map((it) => `/${it}`)), 'DEBIAN/conffiles');
  put.text(sums(tree, files), 'DEBIAN/md5sums');
  put.text(control(name, architecture, kib(tree, files)), 'DEBIAN/control');

  const deb = `build/${name}_${VERSION}_${architecture}.deb`;
  // gzip: a fifth of the time that xz takes on 120 MB of Node, and half as much again to download.
  const how = ['--root-owner-group', '-Zgzip', '-z6', '--build', tree, `${at(deb)}.new`];
  run('dpkg-deb', how, { SOURCE_DATE_EPOCH: String(when) });
  renameSync(`${at(deb)}.new`, at(deb));
  return `${deb}\n`;
}

/** Puts files into a tree, with Debian's modes, and compressed when so named. */
function putter(tree) {
  const write = (bytes, to, mode) => {
    const target = join(tree, to);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, extname(to) === '.gz' ? gzipSync(bytes, { level: 9 }) : bytes);
    chmodSync(target, mode);
  };
  const put = (from, to, { mode = 0o644, change } = {}) => {
    const source = from.startsWith('/') ? from : at(from);
    if (change) return write(change(readFileSync(source, 'utf8')), to, mode);
    if (extname(to) === '.gz') return write(readFileSync(source), to, mode);
    mkdirSync(dirname(join(tree, to)), { recursive: true });
    copyFileSync(source, join(tree, to));
    chmodSync(join(tree, to), mode);
  };
  put.text = (text, to) => write(text, to, 0o644);
  put.folder = (to) => mkdirSync(join(tree, to), { recursive: true });
  put.link = (target, to) => {
    put.folder(dirname(to));
    symlinkSync(target, join(tree, to));
  };
  put.tree = (from, to, wanted, under = '') => {
    for (const entry of readdirSync(join(from, under), { withFileTypes: true })) {
      const path = join(under, entry.name);
      if (!wanted(path, entry.isDirectory())) continue;
      if (entry.isDirectory()) put.tree(from, to, wanted, path);
      else if (entry.isFile()) put(join(from, path), join(to, path));
    }
  };
  return put;
}

/** debian/changelog's form, for tools that read it; what changed is in CHANGELOG.md. */
function changelog(name) {
  const day = new Date(when * 1000).toUTCString().replace(' GMT', ' +0000');
  const who = control.maintainer;
  return `${name} (${VERSION}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- ${who}  ${day}\n`;
}

function filesIn(tree, under = '') {
  return readdirSync(join(tree, under), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(under, entry.name);
      return entry.isDirectory() ? filesIn(tree, path) : [path];
    })
    .toSorted();
}

function sums(tree, files) {
  const plain = files.filter((it) => !it.startsWith('etc/') && lstatSync(join(tree, it)).isFile());
  return run('md5sum', plain, {}, tree);
}

/** As dpkg-gencontrol counts: each file in whole KiB. */
function kib(tree, files) {
  return files.reduce((sum, it) => sum + Math.ceil(lstatSync(join(tree, it)).size / 1024), 0);
}

function made(path) {
  return path.endsWith('.tsbuildinfo');
}

function lines(all) {
  return all.map((it) => `${it}\n`).join('');
}

function run(command, args, env = {}, cwd = root) {
  const how = { cwd, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 2 ** 26 };
  const { status, stdout, stderr, error } = spawnSync(command, args, how);
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.slice(0, 3).join(' ')}: ${error ?? `${stdout}${stderr}`}`);
}
