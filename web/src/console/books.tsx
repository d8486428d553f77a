// The audit as a picture: every unit of the stock stands somewhere, and all who count agree.
import { useEffect, useState } from 'preact/hooks';
import { clockTime, count } from '../common/format';
import { admin, reason } from './session';
import type { Audit } from './types';

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

function Line({ label, value, agrees }: { label: string; value: string; agrees: boolean | null }) {
  return (
    <tr>
      <th scope="row">{label}</th>
      <td class="numeric">{value}</td>
      <td>
        {agrees === null ? (
          ''
        ) : agrees ? (
          <span class="badge good">agrees</span>
        ) : (
          <span class="badge bad">differs</span>
        )}
      </td>
    </tr>
  );
}

function Picture({ audit }: { audit: Audit }) {
  const parts = shares(audit);
  const all = Math.max(audit.stock, audit.sold, 1);
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
          <Line label="Stock" value={count(audit.stock)} agrees={null} />
          <Line label="Sold, by the orders" value={count(audit.sold)} agrees={null} />
          <Line
            label="Sold + remaining = stock"
            value={`${count(audit.sold)} + ${count(audit.remaining)}`}
            agrees={audit.sold + audit.remaining === audit.stock}
          />
          <Line
            label="Remaining, by the live inventory"
            value={
              audit.inventory_remaining === null ? 'not asked' : count(audit.inventory_remaining)
            }
            agrees={
              audit.inventory_remaining === null
                ? null
                : audit.inventory_remaining === audit.remaining
            }
          />
          <Line
            label="Units the log ever accepted"
            value={count(audit.log_accepted_units)}
            agrees={null}
          />
        </tbody>
      </table>
    </>
  );
}

export function Books({ sale, moves }: { sale: string; moves: number }) {
  const [audit, setAudit] = useState<Audit | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const [audited, setAudited] = useState(-1);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);

  async function run(): Promise<void> {
    setBusy(true);
    const answer = await admin<Audit>(`/v1/sales/${sale}/audit`, { timeoutMs: 60_000 });
    setBusy(false);
    if (answer.kind !== 'ok') {
      setError(reason(answer));
      return;
    }
    setError(null);
    setAudit(answer.body);
    setAt(Date.now());
    setAudited(moves);
  }

  useEffect(() => {
    setAudit(null);
    setAudited(-1);
    void run();
  }, [sale]);

  // Once the sale rests: in a rush an audit is the operator's wish, not the page's.
  useEffect(() => {
    if (moves === audited || isBusy) return undefined;
    const timer = setTimeout(() => void run(), 2_500);
    return () => clearTimeout(timer);
  }, [sale, moves, audited, isBusy]);

  return (
    <section class="card" aria-labelledby="books-title">
      <header class="row">
        <h2 id="books-title">The books</h2>
        <button aria-disabled={isBusy} onClick={() => !isBusy && void run()}>
          {isBusy ? 'Auditing…' : 'Audit again'}
        </button>
      </header>
      {error && (
        <p class="note bad" role="alert">
          {error}
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
            {at !== null && <span class="small">Audited at {clockTime(at)}.</span>}
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
