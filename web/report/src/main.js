// The report of `doorbuster bench stages`: everything it shows stands in the element #report-data.
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { charts } from './charts.js';
import { element } from './element.js';
import { table } from './table.js';

const grouped = (number) => number.toLocaleString('en-US');

function head(report) {
  const items = [
    ['machine', report.machine], ['version', report.version], ['command', report.command],
    ['started', report.started_at], ['store', report.store], ['Redis', report.redis],
    ['Kafka', report.kafka], ['rounds', report.rounds],
  ];
  const list = element('dl', { class: 'head' });
  for (const [name, value] of items) {
    if (value !== undefined) list.append(element('dt', {}, name), element('dd', {}, String(value)));
  }
  return list;
}

function loadSection(load) {
  const out = [element('h2', {}, load.title)];
  const limited = load.stages.filter((stage) => stage.limit_per_second > 0);
  const limit = limited.length > 0
    ? ` Rate limit: ${grouped(load.limit_per_second)} attempts a second in ` +
      `${limited.map((stage) => stage.strategy).join(', ')}; none in the other stages.`
    : ' Rate limit: none.';
  const rate = load.rate
    ? `; ${grouped(load.rate)} attempts a second are due by the clock, whatever the answers do`
    : '; each sends its next attempt when the last is answered';
  const each = load.attempts_per_buyer === 1 ? 'one attempt each'
    : `${grouped(load.attempts_per_buyer)} attempts each`;
  out.push(element('p', { class: 'note' },
    `${grouped(load.buyers)} buyers, ${each}, over ${grouped(load.connections)} connections${rate}.` +
    limit));
  out.push(table(load));
  for (const stage of load.stages) {
    if (stage.left_out) {
      out.push(element('p', { class: 'note' }, `${stage.strategy} was left out: it ${stage.left_out}.`));
    } else if (stage.danger) {
      out.push(element('p', { class: 'note' }, `${stage.strategy} ${stage.danger}.`));
    }
    for (const note of [...stage.notes ?? [], ...stage.violations ?? []]) {
      out.push(element('p', { class: 'note' }, `${stage.strategy}, ${note}.`));
    }
  }
  const area = element('div', { class: 'charts' });
  out.push(area);
  return { nodes: out, draw: () => charts(load, area) };
}

function show(report) {
  const page = document.getElementById('report');
  page.append(
    element('h1', {}, 'The published stages, side by side'),
    element('p', {}, 'Each stage sold the same stock to the same crowd, on the same engines, with a ' +
      'server of its own. Figures are medians of the rounds (of errors, oversold and lost or ' +
      'unexpected orders the worst round); below them in small print the least and the greatest. What each stage is, and why it does what it does: docs/stages.md.'),
    head(report));
  if (report.incomplete) {
    page.append(element('p', { class: 'bad' }, `Incomplete, it ended early: ${report.incomplete}`));
  }
  const draw = [];
  for (const load of report.loads) {
    const section = loadSection(load);
    page.append(...section.nodes);
    draw.push(section.draw);
  }
  for (const each of draw) each(); // when everything has its width
}

const data = JSON.parse(document.getElementById('report-data').textContent);
if (typeof data === 'object') show(data);
