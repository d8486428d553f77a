// The console: all sales at the side, one of them at large.
import { render } from 'preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Page, Sale } from '../common/api';
import { clockTime, count, percent } from '../common/format';
import { Create } from './dialogs';
import { Live } from './live';
import { SaleView, StateBadge } from './sale';
import { admin, hasToken, signIn } from './session';
import { type SaleFigures, kOutcomes, kStatuses } from './types';

// A sale that the stream does not tell of: it has not moved since the server started.
function atRest(sale: Sale): SaleFigures {
  const zeros = <K extends string>(names: readonly K[]) =>
    Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
  const { sold_out: _, server_time: __, ...terms } = sale;
  return {
    ...terms,
    counted: true,
    closed_at: null,
    attempts: 0,
    admitted: 0,
    reserved: 0,
    outcomes: zeros(kOutcomes),
    stored: 0,
    orders: zeros(kStatuses),
  };
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

interface ListProps {
  live: Live;
  onChoose: (id: string) => void;
  onCreate: () => void;
}

function SaleList({ live, onChoose, onCreate }: ListProps) {
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const order = { open: 0, paused: 1, scheduled: 2, closed: 3 };
  const sales = [...live.sales.values()]
    .filter((sale) => !wanted || `${sale.id} ${sale.title}`.toLowerCase().includes(wanted))
    .sort((a, b) => order[a.state] - order[b.state] || b.starts_at.localeCompare(a.starts_at));
  return (
    <nav class="sales" aria-label="Sales">
      <button class="primary" onClick={onCreate}>
        New sale
      </button>
      {live.sales.size > 8 && (
        <label>
          <span>Find a sale</span>
          <input value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      )}
      <ul>
        {sales.slice(0, 200).map((sale) => {
          const sold = sale.stock > 0 ? 1 - sale.remaining / sale.stock : 0;
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
                  <i style={{ width: `${sold * 100}%` }} />
                </span>
                <span class="small quiet numeric">
                  {percent(sold)} of {count(sale.stock)} sold
                </span>
              </a>
            </li>
          );
        })}
      </ul>
      {sales.length === 0 && <p class="quiet">{wanted ? 'None is called so.' : 'No sale yet.'}</p>}
    </nav>
  );
}

function Connection({ live }: { live: Live }) {
  const isReady = live.process?.ready ?? true;
  if (!live.isUp) {
    const text = live.status === 503 ? 'The server is starting' : 'Not connected, trying again';
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
              live.sales = new Map();
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
              <h1>{live.isUp ? 'No sale yet' : 'Connecting…'}</h1>
              {live.isUp && <p>Create one, send a rush at it, and watch it burn.</p>}
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
    const hash = () => decodeURIComponent(location.hash.slice(1));
    store.open(/^[a-z0-9][a-z0-9-]{0,62}$/.test(hash()) ? hash() : '');
    const onHash = () => {
      if (hash() && hash() !== store.chosen && store.sales.has(hash())) store.open(hash());
    };
    addEventListener('hashchange', onHash);
    return () => {
      removeEventListener('hashchange', onHash);
      store.stop();
    };
  }, []);
  // The sales that the stream leaves out, because there are many.
  useEffect(() => {
    if (store.salesKnown <= store.sales.size) return;
    void admin<Page<Sale>>('/v1/sales?limit=1000').then((answer) => {
      if (answer.kind === 'ok') store.learn(answer.body.items.map(atRest));
    });
  }, [store.salesKnown]);
  return <App live={store} />;
}

const app = document.getElementById('app');
if (app) {
  app.replaceChildren();
  render(<Root />, app);
}
