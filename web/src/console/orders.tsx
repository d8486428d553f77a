// Orders of a sale: searched by order or buyer, filtered by status, and downloaded.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Order, Page } from '../common/api';
import { count, localTime } from '../common/format';
import { type Format, exportOrders } from './export';
import { admin, hasToken, reason } from './session';
import { kStatuses } from './types';

const kShown = 20;
const kTones: Record<string, string> = {
  queued: 'info',
  confirmed: 'info',
  paid: 'good',
  cancelled: '',
  expired: 'warn',
  refused: 'bad',
};

interface Wish {
  text: string;
  status: string;
}
interface Found {
  wish: Wish; // what was searched for: the form may say something else by now
  orders: Order[];
  next: string | null;
}
interface Batch {
  orders: Order[];
  next: string | null;
  error: string | null;
}

const kDigits = '0123456789abcdefghjkmnpqrstvwxyz'; // Crockford's, in which ids are written

// The id that comes right before this one.
export function idBefore(id: string): string {
  const digits = [...id];
  for (let i = digits.length - 1; i >= 0; i -= 1) {
    const value = kDigits.indexOf(digits[i] ?? '');
    digits[i] = kDigits[value > 0 ? value - 1 : 31] ?? '0';
    if (value > 0) break;
  }
  return digits.join('');
}

function failed(error: string): Batch {
  return { orders: [], next: null, error };
}

// With an admin token an order is found wherever it is. Without one it is the one behind the id
// before its own in this sale: a list is what such an operator may read.
async function findOne(sale: string, id: string): Promise<Batch> {
  const none: Batch = { orders: [], next: null, error: null };
  if (hasToken()) {
    const answer = await admin<Order>(`/v1/orders/${id}`);
    if (answer.kind === 'ok') return { ...none, orders: [answer.body] };
    const isNone = answer.kind === 'problem' && answer.problem.code === 'not_found';
    return isNone ? none : failed(reason(answer));
  }
  const query = new URLSearchParams({ limit: '1', cursor: idBefore(id) });
  const answer = await admin<Page<Order>>(`/v1/sales/${sale}/orders?${query}`);
  if (answer.kind !== 'ok') return failed(reason(answer));
  return { ...none, orders: answer.body.items.filter((order) => order.order_id === id) };
}

// An order's id is found by itself, anything else is a buyer's.
async function find(sale: string, { text, status }: Wish, cursor: string | null): Promise<Batch> {
  if (cursor === null && /^[0-9a-hjkmnp-tv-z]{32}$/.test(text)) {
    const one = await findOne(sale, text);
    if (one.error !== null || one.orders.length > 0) return one;
  }
  const query = new URLSearchParams({ limit: String(kShown) });
  if (text) query.set('user_id', text);
  if (status) query.set('status', status);
  if (cursor !== null) query.set('cursor', cursor);
  const answer = await admin<Page<Order>>(`/v1/sales/${sale}/orders?${query}`);
  if (answer.kind !== 'ok') return failed(reason(answer));
  return { orders: answer.body.items, next: answer.body.next_cursor, error: null };
}

// The server looks at some thousand orders a call, and may find none of them.
function useSearch(sale: string) {
  const [found, setFound] = useState<Found | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [calls, setCalls] = useState(0); // of the search that goes on; 0: none does
  const running = useRef(0); // the number of the search; a newer one, or a stop, ends the older

  function stop(): void {
    running.current += 1;
    setCalls(0);
  }

  async function search(wish: Wish, before: Order[], from: string | null): Promise<void> {
    running.current += 1;
    const mine = running.current;
    setError(null);
    if (from === null) setFound(null);
    let cursor = from;
    for (let call = 1; ; call += 1) {
      setCalls(call);
      const batch = await find(sale, wish, cursor);
      if (running.current !== mine) return;
      if (batch.error !== null) {
        setError(batch.error);
        break;
      }
      const orders = [...before, ...batch.orders];
      setFound({ wish, orders, next: batch.next });
      if (batch.orders.length > 0 || batch.next === null) break;
      cursor = batch.next;
    }
    setCalls(0);
  }

  useEffect(() => stop, []);
  return { found, error, calls, search, stop };
}

export function Orders({ sale }: { sale: string }) {
  const [text, setText] = useState('');
  const [status, setStatus] = useState('');
  const [progress, setProgress] = useState<string | null>(null);
  const { found, error, calls, search, stop } = useSearch(sale);
  const isSearching = calls > 0;

  async function download(format: Format): Promise<void> {
    setProgress('Reading the orders…');
    const wrong = await exportOrders(sale, format, (n) => setProgress(`${count(n)} orders read…`));
    setProgress(wrong ?? 'The file is in your downloads.');
  }

  return (
    <section class="card" aria-labelledby="orders-title">
      <header class="row">
        <h2 id="orders-title">Orders</h2>
        <div class="row">
          <button onClick={() => void download('csv')}>Export CSV</button>
          <button onClick={() => void download('ndjson')}>Export NDJSON</button>
        </div>
      </header>
      {progress && (
        <p class="small quiet" role="status">
          {progress}
        </p>
      )}
      <form
        class="search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          void search({ text: text.trim(), status }, [], null);
        }}
      >
        <label>
          <span>Order or buyer</span>
          <input value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        <label>
          <span>Status</span>
          <select value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
            <option value="">any</option>
            {kStatuses.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary">
          Search
        </button>
      </form>
      {error && (
        <p class="note bad" role="alert">
          {error}
        </p>
      )}
      {isSearching && (
        <p class="row">
          <span class="small quiet" role="status">
            Searching{calls > 1 && `, ${count(calls)} parts of the orders read so far`}…
          </span>
          <button onClick={stop}>Stop</button>
        </p>
      )}
      {found && (found.orders.length > 0 || !(error || isSearching)) && (
        <div class="scroll" role="region" aria-label="Orders found" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">Order</th>
                <th scope="col">Buyer</th>
                <th scope="col">Units</th>
                <th scope="col">Status</th>
                <th scope="col">Ordered</th>
                <th scope="col">Pay until</th>
                <th scope="col">Paid</th>
              </tr>
            </thead>
            <tbody>
              {found.orders.map((order) => (
                <tr key={order.order_id}>
                  <td class="id">
                    {order.order_id}
                    {order.sale_id !== sale && ` (sale ${order.sale_id})`}
                  </td>
                  <td class="wrap">{order.user_id}</td>
                  <td>{order.quantity}</td>
                  <td>
                    <span class={`badge ${kTones[order.status] ?? ''}`}>{order.status}</span>
                  </td>
                  <td>{localTime(order.created_at)}</td>
                  <td>{order.expires_at ? localTime(order.expires_at) : '–'}</td>
                  <td>{order.paid_at ? localTime(order.paid_at) : '–'}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {found.orders.length === 0 && (
            <p class="quiet">
              {found.next === null
                ? 'No order was found.'
                : 'No order was found so far: the search was stopped.'}
            </p>
          )}
        </div>
      )}
      {found?.next && !isSearching && (
        <button onClick={() => void search(found.wish, found.orders, found.next)}>More</button>
      )}
    </section>
  );
}
