// The storefront: one sale, one button. shop.ts knows what is going on; here it is shown.
import { render } from 'preact';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Order, Sale } from '../common/api';
import { countdown, count, localTime, money, spoken } from '../common/format';
import { keepToken, keepUser, subjectOf, whoAmI } from './identity';
import { type Rest, Shop, isFinal, isLost } from './shop';

// What the button says, and whether a press does something.
interface Button {
  text: string;
  works: boolean;
}

// A sentence for everybody, and the tone that goes with it.
interface Headline {
  text: string;
  tone: 'info' | 'good' | 'warn' | 'bad' | 'plain';
}

const kRestTexts: Record<Rest['reason'], string> = {
  slow_down: 'Too many tries. Slow down a moment: your place is not lost.',
  busy: 'The shop is very busy. Nothing was ordered yet.',
  not_started: 'The sale is about to open.',
  paused: 'The sale is paused.',
};

function restLeft(rest: Rest | null): number {
  return rest ? Math.max(0, rest.until - performance.now()) : 0;
}

function buttonOf(shop: Shop): Button {
  const { sale, order, rest, isSending, isRetrying, isMissing } = shop.view;
  const state = shop.saleState;
  if (isSending) return { text: isRetrying ? 'Still trying…' : 'Ordering…', works: false };
  if (order && !isLost(order)) {
    return { text: order.status === 'queued' ? 'Ordered' : 'It is yours', works: false };
  }
  if (shop.isFinding) return { text: 'One moment…', works: false };
  if (!sale || isMissing) return { text: 'Buy now', works: false };
  const left = restLeft(rest);
  if (left > 0) return { text: `Try again in ${Math.ceil(left / 1000)} s`, works: false };
  if (shop.isInDoubt) return { text: 'Check my order', works: true };
  if (state === 'scheduled') return { text: 'Not open yet', works: false };
  if (state === 'closed') return { text: 'Closed', works: false };
  if (state === 'paused') return { text: 'Paused', works: false };
  if (sale.sold_out) return { text: 'Sold out', works: false };
  return { text: order ? 'Buy again' : 'Buy now', works: true };
}

function headlineOf(shop: Shop): Headline {
  const { sale, order, rest, refusal, isSending, isRetrying, isMissing, isStarting } = shop.view;
  const state = shop.saleState;
  if (isMissing) return { text: 'There is no sale at this address.', tone: 'bad' };
  if (isSending) {
    return isRetrying
      ? {
          text: 'We do not know yet whether it is yours. We keep asking; you buy only once.',
          tone: 'warn',
        }
      : { text: 'Your order is on its way…', tone: 'info' };
  }
  if (order) return orderHeadline(order, sale);
  if (restLeft(rest) > 0 && rest) return { text: kRestTexts[rest.reason], tone: 'warn' };
  if (shop.view.signIn === 'shop') {
    return { text: 'Sign in at the shop first, then come back to this page.', tone: 'warn' };
  }
  if (shop.isInDoubt) {
    return {
      text: 'We do not know yet whether it is yours. Check: you buy only once.',
      tone: 'warn',
    };
  }
  if (refusal?.code === 'limit_reached') {
    return { text: 'You already have as many as one person may buy.', tone: 'warn' };
  }
  if (refusal && !['sold_out', 'closed'].includes(refusal.code)) {
    return { text: refusal.detail ?? refusal.title, tone: 'bad' };
  }
  if (!sale) {
    const text = isStarting ? 'The shop is starting. One moment…' : 'Asking the shop…';
    return { text, tone: 'plain' };
  }
  if (state === 'scheduled') return { text: 'Not open yet.', tone: 'info' };
  if (state === 'closed') return { text: 'This sale is closed.', tone: 'plain' };
  if (state === 'paused') {
    return { text: 'The sale is paused. It may go on at any time.', tone: 'warn' };
  }
  if (sale.sold_out || refusal) {
    return { text: 'Sold out. Units may come back when others do not pay.', tone: 'plain' };
  }
  return { text: 'The sale is open.', tone: 'good' };
}

function orderHeadline(order: Order, sale: Sale | null): Headline {
  switch (order.status) {
    case 'queued':
      return { text: 'Your order is safe, and being written down.', tone: 'info' };
    case 'confirmed':
      return isFinal(order, sale)
        ? { text: 'It is yours.', tone: 'good' }
        : { text: 'It is yours: pay in time to keep it.', tone: 'warn' };
    case 'paid':
      return { text: 'Paid. Thank you!', tone: 'good' };
    case 'cancelled':
      return { text: 'You cancelled this order.', tone: 'plain' };
    case 'expired':
      return {
        text: 'The time to pay is over. The unit went back to the sale.',
        tone: 'bad',
      };
    case 'refused':
      return { text: 'The shop had to refuse this order. You pay nothing.', tone: 'bad' };
  }
}

function stockHint(sale: Sale): string {
  const share = sale.stock > 0 ? sale.remaining / sale.stock : 0;
  if (sale.remaining === 0) return 'None left';
  if (share < 0.05 || sale.remaining < 5) return 'The last few';
  if (share < 0.35) return 'Going fast';
  return 'Plenty left';
}

function Stock({ sale }: { sale: Sale }) {
  const share = sale.stock > 0 ? sale.remaining / sale.stock : 0;
  return (
    <div class="stock">
      <p>
        <span data-testid="hint">{stockHint(sale)}</span>
        <span class="quiet numeric">
          <span data-testid="remaining">{count(sale.remaining)}</span> of {count(sale.stock)}
        </span>
      </p>
      <div class="bar" aria-hidden="true">
        <i style={{ width: `${share * 100}%` }} />
      </div>
    </div>
  );
}

function Countdown({ to, now, title }: { to: string; now: number; title: string }) {
  const left = Date.parse(to) - now;
  return (
    <div class="countdown" role="timer" aria-label={`${title}: ${spoken(left)}`}>
      <span class="quiet">{title}</span>
      <strong>{countdown(left)}</strong>
    </div>
  );
}

const kSteps = ['Ordered', 'Confirmed', 'Paid'];
const kStepsDone: Partial<Record<Order['status'], number>> = { queued: 1, confirmed: 2, paid: 3 };

function OrderCard({ shop }: { shop: Shop }) {
  const { order, sale, isChanging, notice, canPay } = shop.view;
  const [isAsking, setAsking] = useState(false);
  // The button under the finger is replaced: the focus goes to the one in its place.
  const inPlace = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(isAsking);
  useLayoutEffect(() => {
    if (wasAsking.current !== isAsking) inPlace.current?.focus();
    wasAsking.current = isAsking;
  }, [isAsking]);
  const due = order?.status === 'confirmed' && !isFinal(order, sale);
  // When there is nothing to press any more, it goes to the heading.
  const heading = useRef<HTMLHeadingElement>(null);
  const actions = useRef<HTMLDivElement>(null);
  const hadFocus = actions.current?.contains(document.activeElement) ?? false;
  const wasDue = useRef(due);
  useLayoutEffect(() => {
    if (wasDue.current && !due && hadFocus) heading.current?.focus();
    wasDue.current = due;
  }, [due]);
  if (!order) return null;
  const steps = sale?.payment_timeout_s === 0 ? kSteps.slice(0, 2) : kSteps;
  const left = order.expires_at ? Date.parse(order.expires_at) - shop.clock.now() : null;
  return (
    <section class="card order" aria-labelledby="order-title">
      <h2 id="order-title" ref={heading} tabIndex={-1}>
        Your order
      </h2>
      {!isLost(order) && (
        <ol class="steps">
          {steps.map((step, i) => (
            <li key={step} class={i < (kStepsDone[order.status] ?? 0) ? 'done' : ''}>
              {step}
              <span class="for-ears">
                {i < (kStepsDone[order.status] ?? 0) ? ', done' : ', not yet'}
              </span>
            </li>
          ))}
        </ol>
      )}
      {due && left !== null && (
        <p role="timer" aria-label={`Pay within ${spoken(left)}`}>
          Pay within <strong class="numeric">{countdown(left)}</strong>
        </p>
      )}
      {due && (
        <div class="actions" ref={actions}>
          {canPay && (
            <button
              class="primary"
              aria-disabled={isChanging !== null}
              onClick={() => void shop.pay()}
            >
              {isChanging === 'pay' ? 'Paying…' : 'Pay (demo)'}
            </button>
          )}
          {isAsking ? (
            <>
              <button
                ref={inPlace}
                class="danger"
                aria-disabled={isChanging !== null}
                onClick={() => void shop.cancel()}
              >
                {isChanging === 'cancel' ? 'Cancelling…' : 'Yes, give it back'}
              </button>
              <button onClick={() => setAsking(false)}>Keep it</button>
            </>
          ) : (
            <button ref={inPlace} onClick={() => setAsking(true)}>
              Cancel order
            </button>
          )}
        </div>
      )}
      {notice && (
        <p class="note warn" role="alert">
          {notice}
        </p>
      )}
      <dl>
        <dt>Order</dt>
        <dd data-testid="order-id">{order.order_id}</dd>
        <dt>Status</dt>
        <dd data-testid="order-status">{order.status}</dd>
        <dt>Ordered</dt>
        <dd>{localTime(order.created_at)}</dd>
      </dl>
    </section>
  );
}

function Who({ shop }: { shop: Shop }) {
  const [me, setMe] = useState(whoAmI);
  const [isEditing, setEditing] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const needsToken = shop.view.signIn === 'token';

  function submit(event: Event): void {
    event.preventDefault();
    const value = field.current?.value.trim() ?? '';
    if (!value) return;
    const next = needsToken ? { ...me, token: value } : { user: value, token: '' };
    if (needsToken) keepToken(value);
    else keepUser(value);
    if (!needsToken) keepToken('');
    setMe(next);
    setEditing(false);
    shop.become(next.user, next.token);
  }

  if (needsToken || isEditing) {
    return (
      <form onSubmit={submit}>
        <label>
          <span>{needsToken ? 'Sign in with your token' : 'Buy as (demo)'}</span>
          <input
            ref={field}
            maxLength={needsToken ? 4096 : 128}
            autocomplete="off"
            spellcheck={false}
            defaultValue={needsToken ? '' : me.user}
          />
        </label>
        <button type="submit">Use</button>
      </form>
    );
  }
  const name = me.token ? subjectOf(me.token) : me.user;
  return (
    <p class="small quiet wrap">
      You are <strong data-testid="user">{name}</strong>{' '}
      <button class="link small" onClick={() => setEditing(true)}>
        Change
      </button>
    </p>
  );
}

function App({ shop }: { shop: Shop }) {
  const { sale, order, isOffline, isStarting, rest } = shop.view;
  const state = shop.saleState;
  const button = buttonOf(shop);
  const headline = headlineOf(shop);
  const now = shop.clock.now();
  useEffect(() => {
    if (rest && restLeft(rest) <= 0) shop.rested();
  });
  useEffect(() => {
    if (sale) document.title = `${sale.title} · ${headline.text}`;
  }, [sale?.title, headline.text]);
  return (
    <>
      {isOffline && (
        <p class="note warn" role="alert">
          No connection to the shop. What you ordered is safe; this page catches up by itself.
        </p>
      )}
      {isStarting && !isOffline && sale && <p class="note warn">The shop restarts. One moment…</p>}
      <main class="card offer">
        <div>
          <h1 data-testid="title">{sale?.title ?? shop.saleId}</h1>
          {sale?.price != null && sale.currency && (
            <p class="price">{money(sale.price, sale.currency)}</p>
          )}
        </div>
        {sale && state === 'scheduled' && (
          <Countdown to={sale.starts_at} now={now} title="Opens in" />
        )}
        {sale && state !== 'scheduled' && state !== 'closed' && <Stock sale={sale} />}
        <p
          class={`headline ${headline.tone === 'plain' ? '' : `note ${headline.tone}`}`}
          role="status"
          data-testid="headline"
        >
          {headline.text}
        </p>
        <button
          class="primary buy"
          aria-disabled={!button.works}
          onClick={() => button.works && void shop.buy()}
          data-testid="buy"
        >
          {button.text}
        </button>
        {sale?.ends_at && state === 'open' && !order && (
          <p class="small quiet">
            Ends in <span class="numeric">{countdown(Date.parse(sale.ends_at) - now)}</span>
          </p>
        )}
        {sale && sale.per_user_limit > 0 && (
          <p class="small quiet">
            {sale.per_user_limit === 1 ? 'One' : `Up to ${sale.per_user_limit}`} per person.
            {sale.payment_timeout_s > 0 &&
              ` You have ${spoken(sale.payment_timeout_s * 1000)} to pay.`}
          </p>
        )}
      </main>
      <OrderCard key={order?.order_id} shop={shop} />
      <footer>
        <Who shop={shop} />
      </footer>
    </>
  );
}

function Root({ saleId }: { saleId: string }) {
  const [, update] = useReducer((n: number) => n + 1, 0);
  const shop = useRef<Shop | null>(null);
  if (!shop.current) {
    const me = whoAmI();
    shop.current = new Shop(saleId, me.user, me.token, () => update(0));
  }
  useEffect(() => {
    shop.current?.start();
    // The countdowns; four times a second, so that none is seen to skip.
    const timer = setInterval(() => document.visibilityState === 'visible' && update(0), 250);
    return () => clearInterval(timer);
  }, []);
  return <App shop={shop.current} />;
}

const app = document.getElementById('app');
if (app) {
  app.replaceChildren();
  render(<Root saleId={location.pathname.split('/')[2] ?? ''} />, app);
}
