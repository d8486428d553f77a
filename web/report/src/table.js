// The table of one load: a column a stage, a row a figure.
import { element } from './element.js';

// Name, title, decimals, and whether anything above 0 is bad news: then the worst round counts.
const FIRST = [
  ['attempts', 'attempts', 0],
  ['unsent', 'never sent', 0],
  ['yes', 'yes', 0],
];
const REST = [
  ['errors', 'errors', 0, true],
  ['orders_in_store', 'orders in the store', 0],
  ['oversold', 'oversold', 0, true],
  ['yes_but_no_order', 'yes but no order', 0, true],
  ['order_but_no_yes', 'order but no yes', 0, true],
  ['connections_peak', 'DB connections, peak', 0],
  ['connections_mean', 'DB connections, mean', 2],
  ['sql_statements_per_attempt', 'SQL statements / attempt', 3],
  ['redis_calls_per_attempt', 'Redis calls / attempt', 3],
  ['attempts_per_second', 'attempts/s', 0],
  ['yes_per_second', 'yes/s', 0],
  ['yes_p50_ms', 'yes p50, ms', 2],
  ['yes_p99_ms', 'yes p99, ms', 2],
  ['yes_p999_ms', 'yes p99.9, ms', 2],
  ['no_p50_ms', 'no p50, ms', 2],
  ['no_p99_ms', 'no p99, ms', 2],
  ['no_p999_ms', 'no p99.9, ms', 2],
  ['drain_seconds', 'last yes to last stored, s', 2],
];

const format = (value, decimals) => value.toLocaleString('en-US',
  { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

function cell(spread, decimals, isBadNews) {
  if (spread === undefined) return element('td', {}, '-');
  const node = element('td', {}, format(isBadNews ? spread.max : spread.median, decimals));
  if (isBadNews && spread.max > 0) node.className = 'bad';
  const [least, most] = [format(spread.min, decimals), format(spread.max, decimals)];
  if (least !== most) node.append(element('small', {}, `${least} – ${most}`));
  return node;
}

export function table(load) {
  const codes = [...new Set(load.stages.flatMap((stage) => Object.keys(stage.no ?? {})))];
  const rows = [
    ...FIRST.map(([name, ...row]) => [(stage) => stage[name], ...row]),
    ...codes.map((code) => [(stage) => stage.no?.[code], `no: ${code}`, 0]),
    ...REST.map(([name, ...row]) => [(stage) => stage[name], ...row]),
  ];
  const body = element('tbody');
  for (const [figure, title, decimals, isBadNews] of rows) {
    body.append(element('tr', {}, element('th', { scope: 'row' }, title),
      ...load.stages.map((stage) => cell(figure(stage), decimals, isBadNews))));
  }
  const titles = element('tr', {}, element('th', {}, ''),
    ...load.stages.map((stage) => element('th', { scope: 'col' }, stage.strategy)));
  return element('div', { class: 'scroll' },
    element('table', {}, element('thead', {}, titles), body));
}
