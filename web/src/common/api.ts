// Calls to doorbuster's own API (docs/openapi.yaml). Every call ends in an Answer: there is nothing
// to catch, and no answer is a value too.

// RFC 9457, with what the codes carry.
export interface Problem {
  code: string;
  title: string;
  detail?: string;
  status: number;
  order_id?: string;
  remaining?: number;
}

export interface Sale {
  id: string;
  title: string;
  state: 'scheduled' | 'open' | 'paused' | 'closed';
  sold_out: boolean;
  stock: number;
  remaining: number;
  per_user_limit: number;
  starts_at: string;
  ends_at: string | null;
  price: number | null;
  currency: string | null;
  payment_timeout_s: number;
  server_time: string;
}

export type OrderStatus = 'queued' | 'confirmed' | 'paid' | 'cancelled' | 'expired' | 'refused';

export interface Order {
  order_id: string;
  sale_id: string;
  user_id: string;
  quantity: number;
  status: OrderStatus;
  created_at: string;
  expires_at: string | null;
  paid_at: string | null;
  payment_ref: string | null;
  version: number;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export type Answer<T> =
  | { kind: 'ok'; status: number; body: T }
  | { kind: 'problem'; problem: Problem; retryAfterMs: number | null }
  | { kind: 'silence' }; // no answer: no network, no server, or too late

export interface Call {
  method?: 'GET' | 'POST' | 'PATCH';
  body?: unknown;
  headers?: Record<string, string>;
  timeoutMs?: number;
}

// Long enough for a phone in a crowd; a call without an answer may be made again.
const kTimeoutMs = 12_000;

// A header's value is bytes, and fetch() takes them as characters up to 0xff: so UTF-8 by hand.
export function headerText(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

// What a Retry-After in seconds says; null: nothing that can be used.
export function retryAfter(response: Response): number | null {
  const seconds = Number(response.headers.get('Retry-After') ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : null;
}

export async function problemOf(response: Response): Promise<Problem> {
  try {
    const body: unknown = await response.json();
    if (body && typeof body === 'object' && 'code' in body) return body as Problem;
  } catch {
    // Something between us and the server answered in another language.
  }
  return {
    code: `http_${response.status}`,
    title: `The server answered ${response.status}.`,
    status: response.status,
  };
}

export async function call<T>(path: string, options: Call = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers };
  const init: RequestInit = {
    method: options.method ?? 'GET',
    headers,
    cache: 'no-store',
    credentials: 'omit',
    signal: AbortSignal.timeout(options.timeoutMs ?? kTimeoutMs),
  };
  if (options.body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(options.body);
  }
  try {
    const response = await fetch(path, init);
    if (response.ok) {
      return { kind: 'ok', status: response.status, body: (await response.json()) as T };
    }
    return {
      kind: 'problem',
      problem: await problemOf(response),
      retryAfterMs: retryAfter(response),
    };
  } catch {
    return { kind: 'silence' };
  }
}
