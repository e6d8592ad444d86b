import type { Point } from './statistics.ts';

/** Several small charts in one row, as an SVG that a browser and a Markdown viewer show. */
export interface Panel {
  readonly title: string;
  readonly x: string;
  readonly lines: readonly { readonly name: string; readonly points: readonly Point[] }[];
}

export interface Bar {
  readonly label: string;
  readonly parts: readonly { readonly name: string; readonly value: number }[];
}

const WIDTH = 300;
const HEIGHT = 220;
const LEFT = 52;
const TOP = 28;
const COLOURS = [
  ...['#4c78a8', '#f58518', '#54a24b', '#e45756', '#b279a2', '#72b7b2'],
  ...['#9d755d', '#eeca3b', '#ff9da6', '#2f4b7c', '#8c8c8c', '#1b7837', '#b2182b'],
];
const IN_A_ROW = 3;

/** Both axes are logarithmic; `y` names the upright one. */
export function lineCharts(panels: readonly Panel[], y: string): string {
  const names = [...new Set(panels.flatMap(({ lines }) => lines.map(({ name }) => name)))];
  const rowHeight = TOP + HEIGHT + 40;
  const charts = panels.map((panel, at) => {
    const body = chart(panel, names, at === 0 ? y : '');
    const [left, top] = [(at % IN_A_ROW) * (WIDTH + 12), Math.floor(at / IN_A_ROW) * rowHeight];
    return `<g transform="translate(${left} ${top})">${body}</g>`;
  });
  const below = Math.ceil(panels.length / IN_A_ROW) * rowHeight + 16;
  const height = below + legendHeight(names);
  return svg(IN_A_ROW * (WIDTH + 12) + 12, height, charts.join('\n') + legend(names, below));
}

function chart({ title, x, lines }: Panel, names: readonly string[], y: string): string {
  const points = lines.flatMap((line) => line.points);
  const across = scale(
    points.map((one) => one.x),
    LEFT,
    WIDTH,
  );
  const up = scale(
    points.map((one) => one.y),
    TOP + HEIGHT,
    TOP,
  );
  const grid = [
    ...across.ticks.map((tick) => {
      const at = across.at(tick);
      return (
        `<path d="M${at} ${TOP}V${TOP + HEIGHT}" stroke="#ddd"/>` +
        text(at, TOP + HEIGHT + 14, plain(tick), 'middle')
      );
    }),
    ...up.ticks.map((tick) => {
      const at = up.at(tick);
      const line = `<path d="M${LEFT} ${at}H${WIDTH}" stroke="#ddd"/>`;
      return line + text(LEFT - 5, at + 4, plain(tick), 'end');
    }),
  ];
  const drawn = lines.map(({ name, points: all }) => {
    const colour = COLOURS[names.indexOf(name) % COLOURS.length];
    const at = all.map((one) => `${across.at(one.x)} ${up.at(one.y)}`);
    const dots = at.map((place) => {
      const [cx, cy] = place.split(' ');
      return `<circle cx="${cx}" cy="${cy}" r="2.5" fill="${colour}"/>`;
    });
    const line = `<path d="M${at.join('L')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
    return line + dots.join('');
  });
  const words = [
    text((LEFT + WIDTH) / 2, 16, title, 'middle', 'bold'),
    text((LEFT + WIDTH) / 2, TOP + HEIGHT + 30, x, 'middle'),
    text(4, 16, y, 'start'),
  ];
  return [...grid, ...drawn, ...words].join('\n');
}

/** Each bar's parts beside each other, to one scale. */
export function bars(rows: readonly Bar[], unit: string): string {
  const names = [...new Set(rows.flatMap(({ parts }) => parts.map(({ name }) => name)))];
  const sum = ({ parts }: Bar) => parts.reduce((all, { value }) => all + value, 0);
  const most = Math.max(...rows.map(sum));
  const wide = 620;
  const body = rows.map((row, at) => {
    const top = TOP + at * 26;
    let left = 160;
    const parts = row.parts.map(({ name, value }) => {
      const width = (value / most) * wide;
      const at = `x="${left.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="18"`;
      const said = `<title>${name} ${value.toFixed(1)} ${unit}</title>`;
      const box = `<rect ${at} ${filled(names.indexOf(name))}>${said}</rect>`;
      left += width;
      return box;
    });
    const total = text(left + 5, top + 13, `${sum(row).toFixed(1)} ${unit}`, 'start');
    return text(152, top + 13, row.label, 'end') + parts.join('') + total;
  });
  const below = TOP + rows.length * 26 + 20;
  return svg(900, below + legendHeight(names), body.join('\n') + legend(names, below));
}

function legend(names: readonly string[], top: number): string {
  return names
    .map((name, at) => {
      const [left, y] = [LEFT + (at % IN_A_ROW) * 290, top + Math.floor(at / IN_A_ROW) * 20];
      const box = `<rect x="${left}" y="${y - 9}" width="12" height="10" ${filled(at)}/>`;
      return box + text(left + 17, y, name, 'start');
    })
    .join('\n');
}

const legendHeight = (names: readonly string[]): number => 20 * Math.ceil(names.length / IN_A_ROW);

/** When the colours are used up they come again, paler. */
const filled = (at: number): string =>
  `fill="${COLOURS[at % COLOURS.length]}" fill-opacity="${at < COLOURS.length ? 1 : 0.5}"`;

/** Logarithmic, with a tick at each power of ten, or at 1, 2 and 5 of each when there are few. */
function scale(values: readonly number[], from: number, to: number) {
  const positive = values.filter((value) => value > 0);
  const [least, most] = [Math.min(...positive), Math.max(...positive)];
  const low = Math.log10(least * (least === most ? 0.5 : 0.9));
  const high = Math.log10(most * (least === most ? 2 : 1.1));
  const at = (value: number) =>
    Number(
      (from + ((Math.log10(Math.max(value, least)) - low) / (high - low)) * (to - from)).toFixed(1),
    );
  const steps = high - low > 2 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const step of steps) {
      const tick = step * 10 ** power;
      if (Math.log10(tick) >= low && Math.log10(tick) <= high) ticks.push(tick);
    }
  }
  return { at, ticks };
}

const plain = (value: number): string =>
  value >= 1e6
    ? `${value / 1e6}M`
    : value >= 1e3
      ? `${value / 1e3}k`
      : String(Number(value.toPrecision(3)));

const text = (x: number, y: number, words: string, anchor: string, weight = 'normal'): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" font-weight="${weight}">` +
  `${escaped(words)}</text>`;

const escaped = (words: string): string =>
  words.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const svg = (width: number, height: number, body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" ` +
  `font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n` +
  `${body}\n</svg>\n`;
