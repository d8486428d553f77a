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
] as const;
export type Outcome = (typeof kOutcomes)[number];

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
  stock: number;
  remaining: number;
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
  written_orders: number;
  store_conflicts: number;
  store_connections: { in_use: number; idle: number };
  latency_ms: { recent_all: Latency; recent_accepted: Latency; all: Latency; accepted: Latency };
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

// Columns of equal length; `t` in milliseconds since 1970.
export type Columns = Record<string, number[]> & { t: number[] };
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
