// Keeps the page true while it is open. Without it, it is the same page as of the last load: the
// server writes all of it, and this only brings in what has changed.

const main = document.getElementById('main');
const live = document.getElementById('live');
const said = document.getElementById('said');
const find = document.getElementById('find');

/** Chains change without an operation of ours: the whole is asked for so often, in ms. */
const LOOK_EVERY = 15_000;
/** Several changes in a row are fetched once. */
const SOON = 250;
/** A stream that was refused is asked for again after this. */
const AGAIN = 3000;

let stream = null;
let timer = null;
let fetching = false;
let missed = false;
let since = null;

/** By operation: how many seconds it has left. */
const left = new Map();
/** By operation: the last quarter that was said. */
const quarters = new Map();

if (document.visibilityState === 'visible') connect();
document.addEventListener('visibilitychange', () => {
  // A browser has few connections for one host, and a tab that nobody sees must not hold one.
  if (document.visibilityState === 'visible') connect();
  else disconnect();
});
setInterval(() => stream !== null && refresh(), LOOK_EVERY);

find.hidden = false;
find.addEventListener('keydown', ({ key }) => {
  if (key !== 'Enter') return;
  location.href = `/ui/?find=${encodeURIComponent(find.value)}#chains`;
});

function connect() {
  if (stream !== null) return;
  // The browser comes back by itself, with the number of the last change that it has heard.
  const it = new EventSource('/v1/events');
  stream = it;
  it.addEventListener('open', () => {
    show('Live', false);
    refresh();
  });
  it.addEventListener('operation', ({ data }) => heard(JSON.parse(data)));
  it.addEventListener('progress', ({ data }) => move(JSON.parse(data)));
  it.addEventListener('error', () => {
    since ??= new Date().toISOString().slice(11, 19);
    show(`Connection lost: this is as of ${since}. Trying again.`, true);
    if (it.readyState !== EventSource.CLOSED || stream !== it) return;
    stream = null;
    refresh();
    setTimeout(() => document.visibilityState === 'visible' && connect(), AGAIN);
  });
}

function disconnect() {
  stream?.close();
  stream = null;
}

function show(words, lost) {
  if (!lost) since = null;
  document.documentElement.classList.toggle('lost', lost);
  if (live.textContent !== words) live.textContent = words;
}

function heard({ id, kind, snapshot, outcome }) {
  if (outcome !== null) {
    left.delete(id);
    quarters.delete(id);
    say(`${kind} of snapshot ${snapshot.slice(0, 8)}: ${outcome}`);
  }
  soon();
}

function soon() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    refresh();
  }, SOON);
}

/** A block job has moved: of all that the page shows, only this is not asked for again. */
function move({ id, total, percent, rate, seconds_left: seconds }) {
  const at = main.querySelector(`[data-operation="${CSS.escape(id)}"]`);
  if (at === null) return;
  const put = (name, words) => {
    at.querySelector(`[data-${name}]`).textContent = words;
  };
  at.querySelector('.meter').hidden = false;
  if (total <= 1) {
    // Of a job that begins or ends libvirt has no numbers.
    at.querySelector('progress').removeAttribute('value');
    put('percent', 'beginning or ending');
    put('rate', '');
    put('left', '');
    return;
  }
  at.querySelector('progress').value = percent;
  put('percent', `${percent}%`);
  put('rate', rate === null ? '' : `${bytes(rate)}/s`);
  put('left', seconds === null ? '' : `${duration(seconds)} left`);
  if (seconds !== null) left.set(id, seconds);
  const longest = main.querySelector('[data-longest]');
  if (longest !== null && left.size > 0) {
    longest.textContent = `${duration(Math.max(...left.values()))} left`;
  }
  const quarter = Math.floor(percent / 25);
  if (quarters.get(id) !== quarter) {
    quarters.set(id, quarter);
    say(`${percent}%${seconds === null ? '' : `, ${duration(seconds)} left`}`);
  }
}

/** For those who do not see it move. */
function say(words) {
  said.textContent = words;
}

async function refresh() {
  if (fetching) {
    missed = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.pathname + location.search, { cache: 'no-cache' });
    // To the form in which one logs in: the session has ended.
    if (answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const now = page.getElementById('main');
    if (now === null) return;
    const focused = document.activeElement;
    morph(main, now);
    document.title = page.title;
    // An element that was moved has lost it.
    if (focused?.isConnected && document.activeElement !== focused) focused.focus();
  } catch {
    // Nobody answers: the stream says so.
  } finally {
    fetching = false;
    if (missed) {
      missed = false;
      soon();
    }
  }
}

/** What tells a row from another of its kind: without it the focus would stay with the place. */
const keyOf = (node) => node.id || node.dataset?.key || node.dataset?.operation || '';
const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

/** Makes `old` what `now` is, and leaves alone what is the same: focus, scrolling, a selection. */
function morph(old, now) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes])
    if (!now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const spare = [...old.childNodes];
  let place = old.firstChild;
  for (const child of now.childNodes) {
    const at = spare.findIndex((one) => alike(one, child));
    const [kept] = at < 0 ? [] : spare.splice(at, 1);
    const node = kept ?? document.importNode(child, true);
    if (kept !== undefined) morph(kept, child);
    if (node === place) place = place.nextSibling;
    else old.insertBefore(node, place);
  }
  for (const one of spare) one.remove();
}

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let value = count;
  for (; value >= 1024 && at < units.length - 1; at += 1) value /= 1024;
  return `${value.toFixed(at === 0 || value >= 100 ? 0 : 1).replace(/\.0$/, '')} ${units[at]}`;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return words(seconds, 60, 'min', 's');
  return words(Math.round(seconds / 60), 60, 'h', 'min');
}

function words(count, size, large, little) {
  const rest = count % size;
  return `${Math.floor(count / size)} ${large}${rest === 0 ? '' : ` ${rest} ${little}`}`;
}
