// Orders of a sale: searched by order or buyer, filtered by status, and downloaded.
import { useEffect, useState } from 'preact/hooks';
import type { Order, Page } from '../common/api';
import { count, localTime } from '../common/format';
import { type Format, exportOrders } from './export';
import { admin, reason } from './session';
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

interface Found {
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

// The one order behind the id before its own: a list, because without an admin token that is what
// an operator may read.
async function findOne(sale: string, id: string): Promise<Order | null> {
  const query = new URLSearchParams({ limit: '1', cursor: idBefore(id) });
  const answer = await admin<Page<Order>>(`/v1/sales/${sale}/orders?${query}`);
  const order = answer.kind === 'ok' ? answer.body.items[0] : undefined;
  return order?.order_id === id ? order : null;
}

// An order's id is found by itself, anything else is a buyer's.
async function find(sale: string, text: string, status: string, cursor: string): Promise<Found> {
  if (/^[0-9a-hjkmnp-tv-z]{32}$/.test(text)) {
    const order = await findOne(sale, text);
    if (order) return { orders: [order], next: null, error: null };
  }
  const query = new URLSearchParams({ limit: String(kShown) });
  if (text) query.set('user_id', text);
  if (status) query.set('status', status);
  if (cursor) query.set('cursor', cursor);
  const answer = await admin<Page<Order>>(`/v1/sales/${sale}/orders?${query}`);
  if (answer.kind === 'ok') {
    return { orders: answer.body.items, next: answer.body.next_cursor, error: null };
  }
  return { orders: [], next: null, error: reason(answer) };
}

export function Orders({ sale }: { sale: string }) {
  const [text, setText] = useState('');
  const [status, setStatus] = useState('');
  const [found, setFound] = useState<Found | null>(null);
  const [progress, setProgress] = useState<string | null>(null);

  async function search(cursor = ''): Promise<void> {
    const more = await find(sale, text.trim(), status, cursor);
    setFound((now) =>
      cursor && now ? { ...more, orders: [...now.orders, ...more.orders] } : more,
    );
  }

  useEffect(() => {
    setFound(null);
    setProgress(null);
    setText('');
  }, [sale]);

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
          void search();
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
      {found?.error && (
        <p class="note bad" role="alert">
          {found.error}
        </p>
      )}
      {found && !found.error && (
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
                  <td class="id">{order.order_id}</td>
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
          {found.orders.length === 0 && <p class="quiet">No order was found.</p>}
        </div>
      )}
      {found?.next && <button onClick={() => void search(found.next ?? '')}>More</button>}
    </section>
  );
}
