// One sale: what it is, how it stands, and what can be done to it.
import { useState } from 'preact/hooks';
import { count, countdown, localTime, milliseconds, money, percent, short } from '../common/format';
import { Books } from './books';
import { Charts } from './charts';
import { type Action, ActionDialog } from './dialogs';
import { Journal } from './journal';
import type { Live } from './live';
import { Orders } from './orders';
import {
  type KnownSale,
  type Outcome,
  type SaleFigures,
  kOutcomeTexts,
  kOutcomes,
  kStatuses,
} from './types';

const kStateTones = { scheduled: 'info', open: 'good', paused: 'warn', closed: '' } as const;

export function StateBadge({ sale }: { sale: KnownSale }) {
  const isSoldOut = sale.state === 'open' && sale.remaining === 0;
  return (
    <span class={`badge ${isSoldOut ? 'warn' : kStateTones[sale.state]}`}>
      {isSoldOut ? 'sold out' : sale.state}
    </span>
  );
}

interface TileProps {
  id: string;
  label: string;
  value: string;
  detail?: string;
  tone?: string;
}

function Tile({ id, label, value, detail, tone }: TileProps) {
  return (
    <div class={`tile ${tone ?? ''}`}>
      <dt>{label}</dt>
      <dd class="numeric" data-testid={id}>
        {value}
      </dd>
      {detail && <dd class="small quiet numeric">{detail}</dd>}
    </div>
  );
}

function Tiles({ sale, live }: { sale: SaleFigures; live: Live }) {
  const process = live.process;
  const latency = process?.latency_ms.recent_all;
  const whole = process?.latency_ms.all;
  const shown = latency?.count ? latency : whole;
  const isNow = Boolean(latency?.count);
  const lag = process?.log_lag_records ?? 0;
  const hasLog = process?.has_log ?? true;
  const sold =
    sale.remaining === null
      ? 'not counted now'
      : `${percent(1 - sale.remaining / sale.stock)} sold${sale.last_look ? ', at the last look' : ''}`;
  return (
    <dl class="tiles">
      <Tile
        id="remaining"
        label="Stock left"
        value={sale.remaining === null ? '–' : count(sale.remaining)}
        detail={`of ${count(sale.stock)}, ${sold}`}
        tone="strong"
      />
      <Tile
        id="yes-rate"
        label="Yes per second"
        value={short(live.yesPerSecond)}
        detail={`${count(sale.outcomes.accepted)} in all`}
      />
      <Tile
        id="no-rate"
        label="No per second"
        value={short(live.noPerSecond)}
        detail={`${count(sale.attempts)} attempts in all`}
      />
      <Tile
        id="latency"
        label={isNow ? 'Latency p99, now' : 'Latency p99'}
        value={milliseconds(shown?.p99 ?? null)}
        detail={`p50 ${milliseconds(shown?.p50 ?? null)}, p99.9 ${milliseconds(shown?.p999 ?? null)}`}
      />
      <Tile
        id="lag"
        label="Log lag"
        value={hasLog ? count(lag) : 'no log'}
        detail={
          process?.writes_here === false
            ? 'others write'
            : `${short(live.drainPerSecond)} stored per second`
        }
      />
      <Tile
        id="paid"
        label={sale.payment_timeout_s > 0 ? 'Paid' : 'Stored'}
        value={count(sale.payment_timeout_s > 0 ? sale.orders.paid : sale.stored)}
        detail={`${count(sale.stored)} orders stored`}
      />
    </dl>
  );
}

function Funnel({ sale, live }: { sale: SaleFigures; live: Live }) {
  const hasLog = live.process?.has_log ?? true;
  const writesHere = live.process?.writes_here ?? true;
  const steps: [string, number, string][] = [
    ['Attempts', sale.attempts, 'requests to buy'],
    ['Admitted', sale.admitted, 'past the state of the sale and the limits'],
    ['Reserved', sale.reserved, 'got units'],
    ['Durable', sale.outcomes.accepted, `safe in the ${hasLog ? 'log' : 'database'}: the yes`],
    ['Stored', sale.stored, 'in the database'],
  ];
  if (sale.payment_timeout_s > 0) steps.push(['Paid', sale.orders.paid, '']);
  const most = Math.max(1, ...steps.map(([, n]) => n));
  return (
    <section class="card" aria-labelledby="funnel-title">
      <h2 id="funnel-title">Funnel</h2>
      <ol class="funnel">
        {steps.map(([name, n, what]) => (
          <li key={name}>
            <span class="name">
              {name} <span class="quiet small">{what}</span>
            </span>
            <span class="numeric" data-testid={`funnel-${name.toLowerCase()}`}>
              {count(n)}
            </span>
            <span class="bar" aria-hidden="true">
              <i style={{ width: `${n > 0 ? Math.max(0.5, (n / most) * 100) : 0}%` }} />
            </span>
          </li>
        ))}
      </ol>
      <p class="small quiet">
        Attempts are this server's, since it started; orders are the store's
        {writesHere ? '' : ', counted every 15 seconds'}.
      </p>
    </section>
  );
}

function shownOutcomes(sale: SaleFigures): Outcome[] {
  const isShown = (name: Outcome) => sale.outcomes[name] > 0;
  return kOutcomes.filter((name) => isShown(name) || name === 'accepted' || name === 'sold_out');
}

function Counts({ sale }: { sale: SaleFigures }) {
  return (
    <section class="card" aria-labelledby="counts-title">
      <h2 id="counts-title">Answers and orders</h2>
      <div class="two">
        <table class="facts">
          <caption>Answers</caption>
          <tbody>
            {shownOutcomes(sale).map((name) => (
              <tr key={name}>
                <th scope="row">{kOutcomeTexts[name]}</th>
                <td class="numeric" data-testid={`outcome-${name}`}>
                  {count(sale.outcomes[name])}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        <table class="facts">
          <caption>Orders in the store</caption>
          <tbody>
            {kStatuses.map((status) => (
              <tr key={status}>
                <th scope="row">{status}</th>
                <td class="numeric" data-testid={`orders-${status}`}>
                  {count(sale.orders[status])}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Backends({ live }: { live: Live }) {
  const process = live.process;
  if (!process) return null;
  const latency = process.latency_ms.all;
  return (
    <section class="card" aria-labelledby="backends-title">
      <h2 id="backends-title">This server</h2>
      <ul class="backends">
        {Object.entries(process.backends).map(([name, state]) => (
          <li key={name}>
            <span class={`badge ${state === 'up' ? 'good' : 'bad'}`}>{state}</span>{' '}
            {name.replaceAll('_', ' ')}
          </li>
        ))}
      </ul>
      <table class="facts">
        <tbody>
          <tr>
            <th scope="row">Up since</th>
            <td>{live.startedAt ? localTime(live.startedAt) : '–'}</td>
          </tr>
          <tr>
            <th scope="row">Purchases answered</th>
            <td class="numeric" data-testid="answered">
              {count(latency.count)}
            </td>
          </tr>
          <tr>
            <th scope="row">p50, p90, p99, p99.9, since then</th>
            <td class="numeric">
              {[latency.p50, latency.p90, latency.p99, latency.p999].map(milliseconds).join(', ')}
            </td>
          </tr>
          <tr>
            <th scope="row">Store connections</th>
            <td class="numeric">
              {process.store_connections.in_use} busy, {process.store_connections.idle} idle
            </td>
          </tr>
          <tr>
            <th scope="row">Store conflicts</th>
            <td class="numeric">{count(process.store_conflicts)}</td>
          </tr>
          <tr>
            <th scope="row">Consoles open</th>
            <td class="numeric">{live.viewers}</td>
          </tr>
        </tbody>
      </table>
    </section>
  );
}

function Times({ sale, now }: { sale: SaleFigures; now: number }) {
  const starts = Date.parse(sale.starts_at);
  const parts: string[] = [];
  if (sale.state === 'scheduled') parts.push(`opens in ${countdown(starts - now)}`);
  else parts.push(`opened ${localTime(sale.starts_at)}`);
  if (sale.closed_at) parts.push(`closed ${localTime(sale.closed_at)}`);
  else if (sale.ends_at && Date.parse(sale.ends_at) > now) {
    parts.push(`ends in ${countdown(Date.parse(sale.ends_at) - now)}`);
  } else if (sale.ends_at) parts.push(`ended ${localTime(sale.ends_at)}`);
  if (sale.price !== null && sale.currency) parts.push(money(sale.price, sale.currency));
  parts.push(`${count(sale.per_user_limit)} per person`);
  if (sale.payment_timeout_s > 0) parts.push(`${countdown(sale.payment_timeout_s * 1000)} to pay`);
  return <p class="quiet small">{parts.join(' · ')}</p>;
}

const kActions: Record<SaleFigures['state'], [Action, string][]> = {
  scheduled: [
    ['schedule', 'Schedule'],
    ['pause', 'Pause'],
    ['restock', 'Restock'],
    ['extend', 'Extend'],
    ['close', 'Close'],
  ],
  open: [
    ['pause', 'Pause'],
    ['restock', 'Restock'],
    ['schedule', 'Schedule'],
    ['extend', 'Extend'],
    ['close', 'Close'],
  ],
  paused: [
    ['resume', 'Resume'],
    ['restock', 'Restock'],
    ['schedule', 'Schedule'],
    ['extend', 'Extend'],
    ['close', 'Close'],
  ],
  closed: [],
};

function actionsOf(sale: SaleFigures): [Action, string][] {
  // One that merely ended can go on.
  if (sale.state === 'closed' && !sale.closed_at) return [['extend', 'Extend']];
  return kActions[sale.state];
}

export function SaleView({ sale, live }: { sale: SaleFigures; live: Live }) {
  const [action, setAction] = useState<Action | null>(null);
  const [done, setDone] = useState(0);
  const now = live.at ?? Date.now();
  return (
    <>
      <header class="card title">
        <div>
          <h1 data-testid="sale-title">{sale.title}</h1>
          <p class="quiet small wrap">
            <StateBadge sale={sale} /> <code>{sale.id}</code> ·{' '}
            <a href={`/shop/${sale.id}`} target="_blank" rel="noopener">
              storefront
            </a>
          </p>
          <Times sale={sale} now={now} />
        </div>
        <div class="row">
          {actionsOf(sale).map(([name, text]) => (
            <button
              key={name}
              class={name === 'close' ? 'danger' : ''}
              onClick={() => setAction(name)}
            >
              {text}
            </button>
          ))}
        </div>
      </header>
      <Tiles sale={sale} live={live} />
      <Charts live={live} />
      <div class="panels">
        <Funnel sale={sale} live={live} />
        <Books sale={sale} viewers={live.viewers} />
        <Counts sale={sale} />
        <Backends live={live} />
      </div>
      <Orders sale={sale.id} />
      <Journal
        sale={sale.id}
        changes={[done, sale.state, sale.stock, sale.starts_at, sale.ends_at, sale.title].join(' ')}
      />
      {action && (
        <ActionDialog
          action={action}
          sale={sale}
          now={now}
          onClose={() => {
            setAction(null);
            setDone((n) => n + 1);
          }}
        />
      )}
    </>
  );
}
