// The console: all sales at the side, one of them at large.
import { render } from 'preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Page, Sale } from '../common/api';
import { clockTime, count, percent } from '../common/format';
import { Create } from './dialogs';
import { Later } from './later';
import { Live } from './live';
import { SaleView, StateBadge } from './sale';
import { admin, hasToken, signIn } from './session';
import type { KnownSale } from './types';

// The sale in the page's address, or none.
function chosenSale(): string {
  const [, id] = /^#([a-z0-9][a-z0-9-]{0,62})$/.exec(location.hash) ?? [];
  return id ?? '';
}

function SignIn({ live, wasWrong }: { live: Live; wasWrong: boolean }) {
  const field = useRef<HTMLInputElement>(null);
  function submit(event: Event): void {
    event.preventDefault();
    signIn(field.current?.value.trim() ?? '');
    live.open(live.chosen);
  }
  return (
    <main class="sign-in card">
      <h1>doorbuster</h1>
      <form onSubmit={submit}>
        <label>
          <span>Admin token</span>
          <input ref={field} type="password" autocomplete="current-password" required />
        </label>
        {wasWrong && (
          <p class="note bad" role="alert">
            This is not the admin token.
          </p>
        )}
        <button type="submit" class="primary">
          Sign in
        </button>
        <p class="small quiet">
          The token is in the server's settings: admin.token, or DOORBUSTER_ADMIN_TOKEN. This tab
          forgets it when it is closed.
        </p>
      </form>
    </main>
  );
}

const kListPage = 1_000;
const kListPagesMax = 50;
// Consoles that see new sales at the same moment read the list within so long.
const kListSpreadMs = 5_000;

// All sales, or what was read of them; null: nothing was.
async function readList(): Promise<KnownSale[] | null> {
  const sales: KnownSale[] = [];
  let cursor: string | null = '';
  for (let page = 0; cursor !== null && page < kListPagesMax; page += 1) {
    const query = new URLSearchParams({ limit: String(kListPage) });
    if (cursor) query.set('cursor', cursor);
    const answer = await admin<Page<Sale>>(`/v1/sales?${query}`);
    if (answer.kind !== 'ok') return sales.length > 0 ? sales : null;
    const { items, next_cursor: next }: Page<Sale> = answer.body;
    sales.push(...items);
    cursor = next;
  }
  return sales;
}

const kListMax = 200; // shown at once

// The later time first. All are UTC and of one length.
function later(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? 1 : -1;
}

interface ListProps {
  live: Live;
  onChoose: (id: string) => void;
  onCreate: () => void;
}

function SaleList({ live, onChoose, onCreate }: ListProps) {
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const order = { open: 0, paused: 1, scheduled: 2, closed: 3 };
  const known = live.known;
  const sales = [...known.values()]
    .filter((sale) => !wanted || `${sale.id} ${sale.title}`.toLowerCase().includes(wanted))
    .sort((a, b) => order[a.state] - order[b.state] || later(a.starts_at, b.starts_at));
  return (
    <nav class="sales" aria-label="Sales">
      <button class="primary" onClick={onCreate}>
        New sale
      </button>
      {known.size > 8 && (
        <label>
          <span>Find a sale</span>
          <input value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      )}
      <ul>
        {sales.slice(0, kListMax).map((sale) => {
          const sold = sale.remaining === null ? null : 1 - sale.remaining / sale.stock;
          return (
            <li key={sale.id}>
              <a
                href={`#${sale.id}`}
                aria-current={sale.id === live.chosen ? 'page' : undefined}
                onClick={() => onChoose(sale.id)}
              >
                <span class="row">
                  <strong class="wrap">{sale.title}</strong>
                  <StateBadge sale={sale} />
                </span>
                <span class="bar" aria-hidden="true">
                  <i style={{ width: `${(sold || 0) * 100}%` }} />
                </span>
                <span class="small quiet numeric">
                  {sold === null ? '–' : percent(sold)} of {count(sale.stock)} sold
                </span>
              </a>
            </li>
          );
        })}
      </ul>
      {sales.length > kListMax && (
        <p class="small quiet">{count(sales.length - kListMax)} more: find them by name.</p>
      )}
      {sales.length === 0 && <p class="quiet">{wanted ? 'None is called so.' : 'No sale yet.'}</p>}
    </nav>
  );
}

function Connection({ live }: { live: Live }) {
  const isReady = live.process?.ready ?? true;
  if (!live.isUp) {
    const text =
      live.code === 'overloaded'
        ? 'Too many consoles are open, trying again'
        : live.status === 503
          ? 'The server is starting'
          : 'Not connected, trying again';
    return (
      <span class="badge bad" role="status">
        {text}
      </span>
    );
  }
  return (
    <span class={`badge ${isReady ? 'good' : 'bad'}`} role="status" data-testid="connection">
      {isReady ? 'Live' : 'Live, not ready'}
    </span>
  );
}

function App({ live }: { live: Live }) {
  const [isCreating, setCreating] = useState(false);
  const chosen = live.sales.get(live.chosen);

  // Without a choice: the sale that somebody will want to see.
  useEffect(() => {
    if (chosen || live.sales.size === 0 || live.chosen) return;
    const sales = [...live.sales.values()];
    const busiest = sales.sort(
      (a, b) => b.attempts - a.attempts || b.starts_at.localeCompare(a.starts_at),
    )[0];
    if (busiest) live.open(busiest.id);
  }, [chosen, live.sales.size]);

  useEffect(() => {
    document.title = chosen ? `${chosen.title} · doorbuster` : 'doorbuster console';
  }, [chosen?.title]);

  if (live.refused === 'unauthorized') return <SignIn live={live} wasWrong={hasToken()} />;
  // A buyer's token, say: an administrator's is another one.
  if (live.refused === 'forbidden' && hasToken()) return <SignIn live={live} wasWrong />;
  if (live.refused === 'forbidden') {
    return (
      <main class="sign-in card">
        <h1>doorbuster</h1>
        <p class="note bad">
          This server has no admin token, so its console is served on the loopback address only:
          open it there, or set admin.token.
        </p>
      </main>
    );
  }
  return (
    <>
      <header class="top">
        <a class="brand" href="/">
          <span aria-hidden="true">⚡</span> doorbuster
        </a>
        <Connection live={live} />
        <span class="small quiet numeric">
          {live.at !== null && `Server time ${clockTime(live.at)}`}
        </span>
        {hasToken() && (
          <button
            onClick={() => {
              signIn('');
              live.forget();
              live.open('');
            }}
          >
            Sign out
          </button>
        )}
      </header>
      <div class="page">
        <SaleList live={live} onChoose={(id) => live.open(id)} onCreate={() => setCreating(true)} />
        <main>
          {chosen ? (
            <SaleView key={chosen.id} sale={chosen} live={live} />
          ) : (
            <section class="card empty">
              {!live.hasFigures && <h1>Connecting…</h1>}
              {live.hasFigures && live.chosen && (
                <>
                  <h1>There is no such sale</h1>
                  <p>
                    No sale is called <code class="wrap">{live.chosen}</code>.
                  </p>
                </>
              )}
              {live.hasFigures && !live.chosen && (
                <>
                  <h1>No sale yet</h1>
                  <p>Create one, send a rush at it, and watch it burn.</p>
                </>
              )}
            </section>
          )}
        </main>
      </div>
      {isCreating && (
        <Create
          onClose={() => setCreating(false)}
          onCreated={(id) => {
            location.hash = id;
            live.open(id);
          }}
        />
      )}
    </>
  );
}

function Root() {
  const [, update] = useReducer((n: number) => n + 1, 0);
  const live = useRef<Live | null>(null);
  live.current ??= new Live(() => update(0));
  const store = live.current;
  useEffect(() => {
    store.open(chosenSale());
    const onHash = () => {
      const sale = chosenSale();
      if (sale && sale !== store.chosen) store.open(sale);
    };
    addEventListener('hashchange', onHash);
    return () => {
      removeEventListener('hashchange', onHash);
      store.stop();
    };
  }, []);
  // The sales that the stream leaves out, because there are many.
  const reader = useRef<Later | null>(null);
  const hasList = useRef(false);
  useEffect(() => {
    const read = async () => {
      const sales = await readList();
      if (sales) store.learn(sales);
      return sales !== null;
    };
    const later = new Later(read);
    reader.current = later;
    return () => later.stop();
  }, []);
  useEffect(() => {
    const { size } = store.known;
    if (store.salesKnown > size) reader.current?.soon(hasList.current ? kListSpreadMs : 0);
    if (size > 0) hasList.current = true;
  }, [store.salesKnown]);
  return <App live={store} />;
}

const app = document.getElementById('app');
if (app) {
  app.replaceChildren();
  render(<Root />, app);
}
