// The pictures of one load, drawn with uPlot: what came of it over time, and how long answers took.
import uPlot from 'uplot';
import { element } from './element.js';

// One colour a stage in every picture, told apart also without colours (Okabe and Ito, 2008).
const COLOURS = {
  naive: '#d55e00', optimistic: '#0072b2', limited: '#56b4e9', cached: '#e69f00',
  queued: '#cc79a7', reserve: '#009e73',
};
const colourOf = (strategy) => COLOURS[strategy] ?? '#555555';
const HEIGHT = 280;

// Lines of different times on one axis: gaps where a line has no point.
function joined(lines) {
  return uPlot.join(lines.map((line) => [line.map(([x]) => x), line.map(([, y]) => y)]));
}

function draw(area, title, note, stages, lines, options) {
  const shown = stages.map((stage, i) => [stage, lines[i]]).filter(([, line]) => line.length > 1);
  if (shown.length === 0) return;
  const box = element('div', { class: 'chart' }, element('h3', {}, title));
  if (note) box.append(element('p', { class: 'note' }, note));
  area.append(box);
  const place = element('div');
  const legend = element('div', { class: 'legend' });
  for (const [stage] of shown) {
    const mark = element('i');
    mark.style.borderColor = colourOf(stage.strategy);
    legend.append(element('span', {}, mark, stage.strategy));
  }
  box.append(place, legend);
  const make = () => new uPlot({
    width: Math.max(place.clientWidth, 240),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    axes: [{ label: options.x, labelSize: 20 }, { label: options.y, size: 70, labelSize: 20 }],
    scales: { x: { time: false, ...options.scales?.x }, y: { ...options.scales?.y } },
    series: [{}, ...shown.map(([stage]) => ({
      label: stage.strategy, stroke: colourOf(stage.strategy), width: 2, spanGaps: true,
      points: { show: false },
    }))],
    ...options.extra,
  }, joined(shown.map(([, line]) => line)), place);
  let plot = make();
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width || place.clientWidth === 0) return;
    width = place.clientWidth;
    plot.setSize({ width: Math.max(width, 240), height: HEIGHT });
  }).observe(box);
}

// Samples: seconds, connections, orders in the store, answers, yes.
const over = (stage, figure) => (stage.samples ?? []).filter(([s]) => s >= 0)
  .map((sample) => [sample[0], figure(sample)]);

// A second's worth of change, so that the line is one of speed.
function speed(stage, index) {
  const samples = (stage.samples ?? []).filter(([s]) => s >= 0);
  const out = [];
  for (let from = 0, to = 1; to < samples.length; ++to) {
    const span = samples[to][0] - samples[from][0];
    if (span < 0.5 && to + 1 < samples.length) continue;
    if (span > 0) out.push([samples[to][0], (samples[to][index] - samples[from][index]) / span]);
    from = to;
  }
  return out;
}

// Against 1 / (1 - q): 10 is the 90th percentile, 100 the 99th.
const curve = (points) => (points ?? []).filter(([q, ms]) => q < 1 && ms > 0)
  .map(([q, ms]) => [1 / (1 - q), ms]);
const percentile = (value) => `${+(100 * (1 - 1 / value)).toPrecision(5)}%`;
const LATENCY = {
  x: 'percentile', y: 'ms',
  scales: { x: { distr: 3 }, y: { distr: 3 } },
  extra: {
    axes: [
      { label: 'percentile', labelSize: 20,
        values: (_, splits) => splits.map((v) => (v === null ? '' : percentile(v))) },
      { label: 'ms', size: 70, labelSize: 20 },
    ],
  },
};

export function charts(load, area) {
  const stages = load.stages.filter((stage) => !stage.left_out);
  const all = (lines) => stages.map(lines);
  draw(area, 'Answers a second', 'yes and no together', stages, all((s) => speed(s, 3)),
    { x: 'seconds', y: 'answers/s' });
  draw(area, 'Orders in the store', `of a stock of ${load.stock.toLocaleString('en-US')}`, stages,
    all((s) => over(s, (sample) => sample[2])), { x: 'seconds', y: 'orders' });
  draw(area, 'Units left', 'stock less the orders in the store: below zero is oversold', stages,
    all((s) => over(s, (sample) => load.stock - sample[2])), { x: 'seconds', y: 'units' });
  draw(area, 'Database connections at work', '', stages, all((s) => over(s, (sample) => sample[1])),
    { x: 'seconds', y: 'connections' });
  draw(area, 'How long a yes took', 'both axes logarithmic', stages,
    all((s) => curve(s.yes_latency)), LATENCY);
  draw(area, 'How long a no took', 'both axes logarithmic', stages,
    all((s) => curve(s.no_latency)), LATENCY);
}
