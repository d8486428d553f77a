// What the server's stream says, kept for the page: the figures of all sales, the process's, and how
// those of the chosen sale went.
import type { Problem } from '../common/api';
import { openStream } from '../common/stream';
import { adminHeaders } from './session';
import {
  type Columns,
  type Figure,
  type Figures,
  type History,
  type KnownSale,
  type ProcessFigures,
  type SaleFigures,
  kOutcomes,
} from './types';

export type Refused = 'unauthorized' | 'forbidden' | null;

// Rates are over about a second: two ticks.
const kRateMs = 900;
const kTickMs = 500; // the server's
const kPointsMax = 4_000;

interface Sample {
  at: number;
  yes: number;
  no: number;
  written: number;
}

// One row of a chart's data, of the columns' names.
export class Series {
  columns: Columns = { t: [] };
  constructor(private readonly names: readonly string[]) {
    for (const name of names) this.columns[name] = [];
  }

  // The server's history: everything, then the last minutes more finely.
  fill(history: History): void {
    const { whole, recent } = history;
    const finelyFrom = recent.t[0] ?? Number.POSITIVE_INFINITY;
    const cut = whole.t.findIndex((t) => t >= finelyFrom);
    const old = cut < 0 ? whole.t.length : cut;
    const joined: Columns = { t: [...whole.t.slice(0, old), ...recent.t] };
    for (const name of this.names) {
      joined[name] = [...(whole[name] ?? []).slice(0, old), ...(recent[name] ?? [])];
    }
    this.columns = joined;
  }

  // A point; what stood still until the tick before stays level.
  add(at: number, tickMs: number, values: Record<string, Figure>): void {
    const t = this.columns.t;
    const last = t[t.length - 1];
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > 1.5 * tickMs) {
      t.push(at - tickMs);
      for (const name of this.names) {
        const column = this.columns[name] ?? [];
        column.push(column[column.length - 1] ?? null);
      }
    }
    t.push(at);
    for (const name of this.names) this.columns[name]?.push(values[name] ?? null);
    if (t.length > kPointsMax) this.thin();
  }

  // Every other point of the older half goes.
  private thin(): void {
    const half = this.columns.t.length / 2;
    for (const [name, column] of Object.entries(this.columns)) {
      this.columns[name] = column.filter((_, i) => i === 0 || i > half || i % 2 === 0);
    }
  }
}

export const kSaleColumns = ['remaining', 'attempts', ...kOutcomes, 'stored', 'paid'] as const;
export const kProcessColumns = ['p50', 'p99', 'p999', 'lag', 'written'] as const;

function pointOf(sale: SaleFigures): Record<(typeof kSaleColumns)[number], Figure> {
  const { remaining, attempts, outcomes, stored, orders } = sale;
  return { remaining, attempts, ...outcomes, stored, paid: orders.paid };
}

export class Live {
  sales = new Map<string, SaleFigures>(); // of which the stream told
  private listed = new Map<string, KnownSale>(); // as they were when the list was read
  process: ProcessFigures | null = null;
  at: number | null = null; // the server's clock, of the last figures
  startedAt: string | null = null;
  salesKnown = 0;
  viewers = 0;
  isUp = false;
  refused: Refused = null;
  private hasBegun = false; // the first figures of this connection were here
  private isFresh = false; // and the second: while nobody looked on, the first may be seconds old
  status = 0; // of the last answer that was no stream
  code = ''; // and its problem's, if that is known
  chosen = '';
  saleSeries = new Series(kSaleColumns);
  processSeries = new Series(kProcessColumns);
  private samples: Sample[] = [];
  private close: (() => void) | null = null;

  constructor(private readonly changed: () => void) {}

  // One stream; choosing another sale opens it anew, with that sale's history.
  open(sale: string): void {
    this.stop();
    this.chosen = sale;
    this.samples = [];
    this.saleSeries = new Series(kSaleColumns);
    this.refused = null;
    const query = sale ? `?sale=${encodeURIComponent(sale)}` : '';
    this.close = openStream(`/v1/admin/events${query}`, {
      headers: adminHeaders,
      silenceMaxMs: 8_000, // the server says something every two seconds
      onState: (isUp) => {
        this.isUp = isUp;
        this.hasBegun = false;
        this.isFresh = false;
        this.changed();
      },
      onRefused: (status: number, problem?: Problem) => {
        this.status = status;
        this.code = problem?.code ?? '';
        if (status === 401) this.refused = 'unauthorized';
        if (status === 403) this.refused = 'forbidden';
        this.changed();
        return this.refused !== null;
      },
      onEvent: ({ event, data }) => this.take(event, data),
    });
  }

  stop(): void {
    this.close?.();
    this.close = null;
    this.isUp = false;
  }

  private take(event: string, data: string): void {
    this.status = 200;
    if (event === 'figures') this.takeFigures(JSON.parse(data) as Figures);
    if (event === 'process_history') this.processSeries.fill(JSON.parse(data) as History);
    if (event === 'sale_history') {
      const { sale, history } = JSON.parse(data) as { sale: string; history: History };
      if (sale === this.chosen) this.saleSeries.fill(history);
    }
    this.changed();
  }

  private takeFigures(figures: Figures): void {
    this.process = figures.process;
    this.startedAt = figures.started_at;
    this.salesKnown = figures.sales_known;
    this.viewers = figures.viewers;
    const before = this.sales.get(this.chosen);
    const beforeAt = this.at;
    const at = figures.at ? Date.parse(figures.at) : Date.now();
    this.at = at;
    const isAll = figures.complete && figures.sales.length === figures.sales_known;
    const sales = isAll ? new Map<string, SaleFigures>() : new Map(this.sales);
    for (const sale of figures.sales) sales.set(sale.id, sale);
    this.sales = sales;
    const sale = this.sales.get(this.chosen);
    const written = figures.process.written_orders;
    const yes = sale?.outcomes.accepted ?? 0;
    const no = (sale?.attempts ?? 0) - yes - (sale?.outcomes.replayed ?? 0);
    this.samples.push({ at, yes, no, written });
    while (this.samples.length > 2 && at - (this.samples[1]?.at ?? at) > kRateMs) {
      this.samples.shift();
    }
    if (!this.hasBegun) {
      this.hasBegun = true; // history follows
      return;
    }
    this.isFresh = true;
    const latency = figures.process.latency_ms.last_tick; // as in the history
    this.processSeries.add(at, kTickMs, {
      p50: latency.p50 ?? 0,
      p99: latency.p99 ?? 0,
      p999: latency.p999 ?? 0,
      lag: figures.process.log_lag_records,
      written,
    });
    if (!sale || !figures.sales.includes(sale) || sale.attempts + sale.stored === 0) return;
    // Of a sale that has just begun to move: where it stood until now.
    const isFirst = this.saleSeries.columns.t.length === 0;
    if (isFirst && before && beforeAt !== null) {
      this.saleSeries.add(beforeAt, kTickMs, pointOf(before));
    }
    this.saleSeries.add(at, kTickMs, pointOf(sale));
  }

  // A second of something, of the last samples.
  private rate(of: (sample: Sample) => number): number {
    const first = this.samples[0];
    const last = this.samples[this.samples.length - 1];
    if (!first || !last || last.at <= first.at) return 0;
    return Math.max(0, ((of(last) - of(first)) * 1000) / (last.at - first.at));
  }
  get yesPerSecond(): number {
    return this.rate((sample) => sample.yes);
  }
  get noPerSecond(): number {
    return this.rate((sample) => sample.no);
  }
  get drainPerSecond(): number {
    return this.rate((sample) => sample.written);
  }

  // The list of all sales. What the stream says of one is newer.
  learn(sales: KnownSale[]): void {
    this.listed = new Map(sales.map((sale) => [sale.id, sale]));
    this.changed();
  }
  get known(): Map<string, KnownSale> {
    return new Map<string, KnownSale>([...this.listed, ...this.sales]);
  }
  get hasFigures(): boolean {
    return this.isUp && this.isFresh;
  }

  forget(): void {
    this.sales = new Map();
    this.listed = new Map();
    this.salesKnown = 0;
  }
}
