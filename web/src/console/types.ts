// What GET /v1/admin/events sends, and the lists that a console reads (docs/openapi.yaml).

export const kOutcomes = [
  'accepted',
  'sold_out',
  'limit_reached',
  'not_started',
  'paused',
  'closed',
  'rate_limited',
  'overloaded',
  'unavailable',
  'idempotency_mismatch',
  'replayed',
  'lost_race',
] as const; // the contract's codes, in the order of their numbers
export type Outcome = (typeof kOutcomes)[number];
export const kOutcomeTexts: Record<Outcome, string> = {
  accepted: 'Yes',
  sold_out: 'Sold out',
  limit_reached: 'Limit reached',
  not_started: 'Not started',
  paused: 'Paused',
  closed: 'Closed',
  rate_limited: 'Slow down',
  overloaded: 'Overloaded',
  unavailable: 'Unavailable',
  idempotency_mismatch: 'Key mismatch',
  replayed: 'Yes, said again',
  lost_race: 'Somebody was faster',
};

export const kStatuses = [
  'queued',
  'confirmed',
  'paid',
  'cancelled',
  'expired',
  'refused',
] as const;

export interface SaleFigures {
  id: string;
  title: string;
  state: 'scheduled' | 'open' | 'paused' | 'closed';
  counted: boolean;
  last_look: boolean; // nobody counts the stock: as the last purchase saw it
  stock: number;
  remaining: number | null; // null: not counted now
  per_user_limit: number;
  starts_at: string;
  ends_at: string | null;
  closed_at: string | null;
  price: number | null;
  currency: string | null;
  payment_timeout_s: number;
  attempts: number;
  admitted: number;
  reserved: number;
  outcomes: Record<Outcome, number>;
  stored: number;
  orders: Record<(typeof kStatuses)[number], number>;
}

// A sale in the list: there may be more of them than the stream tells of.
export type KnownSale = Pick<
  SaleFigures,
  'id' | 'title' | 'state' | 'stock' | 'remaining' | 'starts_at'
>;

export interface Latency {
  count: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
  p999: number | null;
}

export interface ProcessFigures {
  ready: boolean;
  backends: Record<string, string>;
  log_lag_records: number;
  writes_here: boolean;
  has_log: boolean; // false: a purchase writes its order itself
  written_orders: number;
  store_conflicts: number;
  store_connections: { in_use: number; idle: number };
  latency_ms: {
    recent_all: Latency;
    recent_accepted: Latency;
    last_tick: Latency; // of all
    all: Latency;
    accepted: Latency;
  };
}

export interface Figures {
  at: string | null;
  started_at: string;
  complete: boolean;
  viewers: number;
  sales_known: number;
  process: ProcessFigures;
  sales: SaleFigures[];
}

// Columns of equal length; `t` in milliseconds since 1970. Null: not known then.
export type Figure = number | null;
export type Columns = Record<string, Figure[]> & { t: number[] };
export interface History {
  recent: Columns;
  whole: Columns;
}

export interface Audit {
  sale_id: string;
  stock: number;
  sold: number;
  remaining: number;
  orders: Record<string, number>;
  log_accepted_units: number;
  inventory_remaining: number | null;
  violations: string[];
  balanced: boolean;
}

export interface JournalEntry {
  at: string;
  who: string;
  what: string;
  before: unknown;
  after: unknown;
}
