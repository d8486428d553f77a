// The four charts of a sale: stock, answers, latency, and how far the store is behind the log.
import { useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { count, milliseconds, short } from '../common/format';
import { Chart, type Line } from './chart';
import type { Live } from './live';
import { type Columns, type Figure, type Outcome, kOutcomes } from './types';

type Window = 'minute' | 'recent' | 'whole';
const kWindows: [Window, string][] = [
  ['minute', 'Last minute'],
  ['recent', 'Last 5 minutes'],
  ['whole', 'Whole sale'],
];

// Every answer is in one of the lines.
type Answers = Line & { outcomes: readonly Outcome[] };
const kNamed: Answers[] = [
  { label: 'Yes', color: '--chart-good', outcomes: ['accepted'], fill: true },
  { label: 'Sold out', color: '--chart-gray', outcomes: ['sold_out'] },
  { label: 'Slow down', color: '--chart-warn', outcomes: ['rate_limited'] },
  { label: 'Overloaded', color: '--chart-bad', outcomes: ['overloaded', 'unavailable'] },
  { label: 'Limit reached', color: '--chart-info', outcomes: ['limit_reached'] },
  { label: 'Not open', color: '--chart-accent', outcomes: ['not_started', 'paused', 'closed'] },
];
const kAnswers: Answers[] = [
  ...kNamed,
  {
    label: 'Others',
    color: '--chart-other',
    outcomes: kOutcomes.filter((name) => kNamed.every((line) => !line.outcomes.includes(name))),
  },
];

function seconds(t: number[]): number[] {
  return t.map((ms) => ms / 1000);
}

// From a count that only grows to how much it grew a second.
export function perSecond(t: number[], column: Figure[]): number[] {
  return column.map((value, i) => {
    const before = t[i - 1];
    const time = t[i];
    if (i === 0 || before === undefined || time === undefined || time <= before) return 0;
    const then = column[i - 1] ?? value ?? 0;
    return Math.max(0, (((value ?? then) - then) * 1000) / (time - before));
  });
}

// Of several counts together.
function sum(columns: Columns, names: readonly string[]): number[] {
  return columns.t.map((_, i) => names.reduce((n, name) => n + (columns[name]?.[i] ?? 0), 0));
}

// The figures stand still from the last point until now.
function untilNow(columns: Columns, now: number): Columns {
  const last = columns.t[columns.t.length - 1];
  if (last === undefined || now - last < 750) return columns;
  const level: Columns = { t: [...columns.t, last + 500, now] };
  for (const [name, column] of Object.entries(columns)) {
    if (name === 't') continue;
    const value = column[column.length - 1] ?? null;
    level[name] = [...column, value, value];
  }
  return level;
}

export function Charts({ live }: { live: Live }) {
  const [window, setWindow] = useState<Window>('whole');
  const now = live.at ?? Date.now();
  const sale = untilNow(live.saleSeries.columns, now);
  const process = live.processSeries.columns;
  const saleStart = sale.t[0];
  const spans: Record<Window, number | null> = {
    minute: now - 60_000,
    recent: now - 300_000,
    whole: saleStart ?? now - 60_000,
  };
  const from = spans[window] === null ? null : (spans[window] ?? now) / 1000;
  const lastMove = live.saleSeries.columns.t.at(-1) ?? now;
  // The whole sale ends when it stopped to move, not now.
  const to =
    window === 'whole' ? Math.max(lastMove, (saleStart ?? now) + 2_000) / 1000 : now / 1000;
  const x = seconds(sale.t);
  const column = (name: string) => sale[name] ?? [];
  const common = { from, to };
  const figures = live.sales.get(live.chosen);
  const left = figures?.remaining ?? null;
  const latency = live.process?.latency_ms.recent_all;

  const answers: uPlot.AlignedData = [
    x,
    ...kAnswers.map((line) => perSecond(sale.t, sum(sale, line.outcomes))),
  ];
  const lag: uPlot.AlignedData = [
    seconds(process.t),
    process.lag ?? [],
    perSecond(process.t, process.written ?? []),
  ];
  return (
    <section class="card charts" aria-labelledby="charts-title">
      <header class="row">
        <h2 id="charts-title">Live</h2>
        <div class="choice" role="group" aria-label="Time shown">
          {kWindows.map(([name, text]) => (
            <button key={name} aria-pressed={window === name} onClick={() => setWindow(name)}>
              {text}
            </button>
          ))}
        </div>
      </header>
      <div class="chart-grid">
        <Chart
          {...common}
          title="Stock left"
          summary={`${left === null ? 'an unknown number' : count(left)} of ${count(figures?.stock ?? 0)} units left`}
          version={`${live.chosen}-stock`}
          lines={[{ label: 'Units', color: '--chart-accent', fill: true }]}
          data={[x, column('remaining')]}
          value={short}
        />
        <Chart
          {...common}
          title="Answers per second"
          summary={`${count(live.yesPerSecond)} yes and ${count(live.noPerSecond)} no a second now`}
          version={`${live.chosen}-answers`}
          lines={kAnswers}
          data={answers}
          value={short}
        />
        <Chart
          {...common}
          title="Latency, all sales"
          summary={`median ${milliseconds(latency?.p50 ?? null)}, 99th percentile ${milliseconds(latency?.p99 ?? null)}`}
          version="latency"
          lines={[
            { label: 'p50', color: '--chart-good' },
            { label: 'p99', color: '--chart-warn' },
            { label: 'p99.9', color: '--chart-bad' },
          ]}
          data={[seconds(process.t), process.p50 ?? [], process.p99 ?? [], process.p999 ?? []]}
          value={(ms) => (ms >= 1000 ? `${ms / 1000} s` : `${+ms.toFixed(2)} ms`)}
        />
        <Chart
          {...common}
          title="Log and store"
          summary={`${count(live.process?.log_lag_records ?? 0)} records are not stored yet, ${count(live.drainPerSecond)} a second are`}
          version="lag"
          lines={[
            { label: 'Not stored yet', color: '--chart-warn', fill: true },
            { label: 'Stored per second', color: '--chart-info' },
          ]}
          data={lag}
          value={short}
        />
      </div>
    </section>
  );
}
