// The audit as a picture: every unit of the stock stands somewhere, and all who count agree.
import { useEffect, useRef, useState } from 'preact/hooks';
import { clockTime, count } from '../common/format';
import { Later } from './later';
import { admin, reason } from './session';
import type { Audit, SaleFigures } from './types';

const kParts: [string, string, string][] = [
  ['queued', 'in the log only', '--chart-warn'],
  ['confirmed', 'confirmed', '--chart-info'],
  ['paid', 'paid', '--chart-good'],
];

// An order may hold several units: the units of the live orders are shared out by their counts.
function shares(audit: Audit): { name: string; text: string; color: string; units: number }[] {
  const live = kParts.reduce((sum, [name]) => sum + (audit.orders[name] ?? 0), 0);
  return kParts.map(([name, text, color]) => {
    const share = live > 0 ? (audit.orders[name] ?? 0) / live : 0;
    return { name, text, color, units: audit.sold * share };
  });
}

type Verdict = 'agrees' | 'differs' | null;

function Line({ label, value, verdict }: { label: string; value: string; verdict: Verdict }) {
  return (
    <tr>
      <th scope="row">{label}</th>
      <td class="numeric">{value}</td>
      <td>
        {verdict && (
          <span class={`badge ${verdict === 'agrees' ? 'good' : 'bad'}`}>{verdict}</span>
        )}
      </td>
    </tr>
  );
}

// The inventory is counted after the store, so in a rush it is a little ahead of it. What is wrong
// the audit says; a difference alone is not.
function inventory(audit: Audit): { value: string; verdict: Verdict } {
  const { inventory_remaining: seen, remaining, balanced } = audit;
  if (seen === null) return { value: 'not asked', verdict: null };
  if (seen === remaining) return { value: count(seen), verdict: 'agrees' };
  if (!balanced) return { value: count(seen), verdict: 'differs' };
  const units = count(Math.abs(remaining - seen));
  const where = seen < remaining ? 'on their way to the store' : 'given back since';
  return { value: `${count(seen)} (${units} ${where})`, verdict: null };
}

function Picture({ audit }: { audit: Audit }) {
  const parts = shares(audit);
  const all = Math.max(audit.stock, audit.sold, 1);
  const isSum = audit.sold + audit.remaining === audit.stock;
  return (
    <>
      <div
        class="books"
        role="img"
        aria-label={`${count(audit.sold)} of ${count(audit.stock)} units are sold, ${count(audit.remaining)} remain`}
      >
        {parts.map((part) => (
          <i
            key={part.name}
            style={{
              width: `${(part.units / all) * 100}%`,
              background: `var(${part.color})`,
            }}
          />
        ))}
      </div>
      <ul class="legend">
        {parts.map((part) => (
          <li key={part.name}>
            <i style={{ background: `var(${part.color})` }} aria-hidden="true" />
            {count(audit.orders[part.name] ?? 0)} {part.text}
          </li>
        ))}
        <li>
          <i class="empty" aria-hidden="true" />
          {count(audit.remaining)} units left
        </li>
      </ul>
      <table class="facts">
        <tbody>
          <Line label="Stock" value={count(audit.stock)} verdict={null} />
          <Line label="Sold, by the orders" value={count(audit.sold)} verdict={null} />
          <Line
            label="Sold + remaining = stock"
            value={`${count(audit.sold)} + ${count(audit.remaining)}`}
            verdict={isSum ? 'agrees' : 'differs'}
          />
          <Line label="Remaining, by the live inventory" {...inventory(audit)} />
          <Line
            label="Units the log ever accepted"
            value={count(audit.log_accepted_units)}
            verdict={null}
          />
        </tbody>
      </table>
    </>
  );
}

// An audit reads all orders of the sale, and the server takes a few in line. The consoles audit by
// themselves once, when the sale is over: each at a moment of its own, two a second of all of them.
const kSpreadMinMs = 3_000;
const kSpreadOfEachMs = 500;

// In what way the sale is over, or null.
function end(sale: SaleFigures): string | null {
  if (sale.state === 'closed') return 'closed';
  return sale.remaining === 0 ? `sold out of ${sale.stock}` : null;
}

export function Books({ sale, viewers }: { sale: SaleFigures; viewers: number }) {
  const [audit, setAudit] = useState<Audit | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const [audited, setAudited] = useState('');
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const later = useRef<Later | null>(null);
  const ends = useRef(new Set([end(sale)])); // each is audited once; the one it opened with, never
  const moves = JSON.stringify([sale.orders, sale.stock]);
  const latest = useRef(moves);
  latest.current = moves;

  async function run(): Promise<boolean> {
    const movesBefore = latest.current;
    setBusy(true);
    const answer = await admin<Audit>(`/v1/sales/${sale.id}/audit`, { timeoutMs: 60_000 });
    setBusy(false);
    if (answer.kind !== 'ok') {
      setError(reason(answer));
      return false;
    }
    setError(null);
    setAudit(answer.body);
    setAt(Date.now());
    setAudited(movesBefore);
    return true;
  }

  useEffect(() => {
    const auditor = new Later(run);
    later.current = auditor;
    return () => auditor.stop();
  }, []);

  const ended = end(sale);
  const awaited = useRef<string | null>(null);
  useEffect(() => {
    // Units came back, say: it is not over, and its end will be audited when it comes.
    if (later.current?.cancel()) ends.current.delete(awaited.current);
    if (ended === null || ends.current.has(ended)) return;
    ends.current.add(ended);
    awaited.current = ended;
    later.current?.soon(Math.max(kSpreadMinMs, viewers * kSpreadOfEachMs));
  }, [ended]);

  function press(): void {
    if (isBusy) return;
    later.current?.cancel();
    void run();
  }

  return (
    <section class="card" aria-labelledby="books-title">
      <header class="row">
        <h2 id="books-title">The books</h2>
        <button aria-disabled={isBusy} onClick={press}>
          {isBusy ? 'Auditing…' : audit ? 'Audit again' : 'Audit'}
        </button>
      </header>
      {error && (
        <p class="note bad" role="alert">
          {error}
        </p>
      )}
      {!audit && !error && (
        <p class="quiet small">
          An audit compares the stock, the orders, the log and the inventory. It runs when you ask for
          it, and by itself when the sale closes or sells out.
        </p>
      )}
      {audit && (
        <>
          <p
            class={`note verdict ${audit.balanced ? 'good' : 'bad'}`}
            role="status"
            data-testid="verdict"
          >
            <strong>{audit.balanced ? 'The books balance.' : 'The books do not balance.'}</strong>{' '}
            {at !== null && (
              <span class="small">
                Audited at {clockTime(at)}
                {audited !== moves && '; orders came or changed since'}.
              </span>
            )}
          </p>
          {audit.violations.map((violation) => (
            <p class="note bad" key={violation}>
              {violation}
            </p>
          ))}
          <Picture audit={audit} />
        </>
      )}
    </section>
  );
}
