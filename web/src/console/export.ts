// All orders of a sale as a file, as `doorbuster export` writes it: the contract's columns, and no
// cell that a spreadsheet would run.
import type { Order, Page } from '../common/api';
import { admin, reason } from './session';

export type Format = 'csv' | 'ndjson';

const kColumns = [
  'order_id',
  'sale_id',
  'user_id',
  'quantity',
  'status',
  'created_at',
  'expires_at',
  'paid_at',
  'payment_ref',
] as const;

export function csvCell(value: string | number | null): string {
  let text = value === null ? '' : String(value);
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function line(order: Order, format: Format): string {
  if (format === 'csv') return `${kColumns.map((name) => csvCell(order[name])).join(',')}\r\n`;
  return `${JSON.stringify(Object.fromEntries(kColumns.map((name) => [name, order[name]])))}\n`;
}

function save(parts: string[], type: string, name: string): void {
  const address = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// What went wrong, or null.
export async function exportOrders(
  sale: string,
  format: Format,
  onProgress: (orders: number) => void,
): Promise<string | null> {
  const parts: string[] = format === 'csv' ? [`${kColumns.join(',')}\r\n`] : [];
  let orders = 0;
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = new URLSearchParams({ limit: '1000' });
    if (cursor) query.set('cursor', cursor);
    const answer = await admin<Page<Order>>(`/v1/sales/${sale}/orders?${query}`);
    if (answer.kind !== 'ok') return reason(answer);
    const { items, next_cursor: next }: Page<Order> = answer.body;
    parts.push(items.map((order) => line(order, format)).join(''));
    orders += items.length;
    onProgress(orders);
    cursor = next;
  }
  save(parts, format === 'csv' ? 'text/csv' : 'application/x-ndjson', `orders-${sale}.${format}`);
  return null;
}
