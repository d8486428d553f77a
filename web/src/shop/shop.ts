// One buyer's way through one sale: what is known, what is under way, and what the page may say.
// Ten presses, a reload, or a network that dies half-way lead to the same order: wish.ts has the
// rules for that.
import { type Answer, type Order, type Problem, type Sale, call, headerText } from '../common/api';
import { ServerClock } from '../common/clock';
import { openStream } from '../common/stream';
import { subjectOf } from './identity';
import { Memory } from './memory';
import {
  type Reason,
  type Verdict,
  type Wish,
  after,
  isFresh,
  isInDoubt,
  judge,
  lost,
  pressed,
} from './wish';

// Why the button must rest for a while.
export interface Rest {
  until: number; // performance.now()
  reason: Reason;
}

// Whoever buys here. What was begun for one buyer is never gone on with for another: each change of
// the buyer makes a new one of these, and who comes back from a wait looks whether it is still his.
interface Buyer {
  readonly headers: Record<string, string>;
  readonly memoryName: string;
}

export interface View {
  sale: Sale | null;
  isMissing: boolean; // there is no such sale
  isOffline: boolean;
  isStarting: boolean; // the server reads its books
  isSending: boolean; // a purchase is on its way, or its answer is
  isRetrying: boolean; // it had no answer, and is sent again
  order: Order | null;
  isChanging: 'pay' | 'cancel' | null;
  rest: Rest | null;
  refusal: Problem | null; // the last clear no
  notice: string | null; // about pay and cancel
  signIn: 'token' | 'shop' | null; // where the buyer must say who they are
  canPay: boolean;
}

const kRetryMs = [500, 1_000, 2_000, 4_000, 8_000];
const kRetryMaxMs = 60_000; // whatever a gateway's Retry-After says
const kFindMaxMs = 5_000; // how long a press waits for the order that there is
const kRestMs = 2_000; // after a no for now that does not say how long

export function isFinal(order: Order, sale: Sale | null): boolean {
  if (order.status === 'confirmed') return sale !== null && sale.payment_timeout_s === 0;
  return order.status !== 'queued';
}

export function isLost(order: Order): boolean {
  return ['cancelled', 'expired', 'refused'].includes(order.status);
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// A token helps where the server speaks of one; elsewhere a gateway knows who is logged in.
function signInFor(detail: string | undefined): 'token' | 'shop' {
  return /authorization|token/i.test(detail ?? '') ? 'token' : 'shop';
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

// What is known of a buyer who has just come.
const kNewBuyer = {
  isSending: false,
  isRetrying: false,
  order: null,
  isChanging: null,
  rest: null,
  refusal: null,
  notice: null,
  signIn: null,
  canPay: true,
} satisfies Partial<View>;

export class Shop {
  readonly clock = new ServerClock();
  view: View = {
    sale: null,
    isMissing: false,
    isOffline: !navigator.onLine,
    isStarting: false,
    ...kNewBuyer,
  };
  private readonly memory = new Memory();
  private buyer: Buyer;
  private closeOrderStream: (() => void) | null = null;
  private watched: string | null = null;
  private watchedAt = 0;
  private pollTimer: ReturnType<typeof setTimeout> | undefined;
  private isPolling = false;
  private isWoken = false;

  constructor(
    readonly saleId: string,
    user: string,
    token: string,
    private readonly changed: () => void,
  ) {
    this.buyer = this.buyerOf(user, token);
    addEventListener('online', () => this.poll());
    addEventListener('offline', () => this.set({ isOffline: true }));
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.wake();
    });
    addEventListener('pageshow', ({ persisted }) => persisted && this.wake());
    // Another tab of the same buyer has bought. Its tries are its own: they are not made here, too.
    addEventListener('storage', (event) => {
      if (event.key !== this.buyer.memoryName || this.view.isSending) return;
      const { orderId } = this.memory.read(this.buyer.memoryName);
      if (orderId) this.watch(orderId);
    });
  }

  start(): void {
    this.poll();
    void this.resume();
  }

  become(user: string, token: string): void {
    this.buyer = this.buyerOf(user, token);
    this.unwatch();
    this.set(kNewBuyer);
    void this.resume();
  }

  private set(change: Partial<View>): void {
    this.view = { ...this.view, ...change };
    this.changed();
  }

  private buyerOf(user: string, token: string): Buyer {
    const headers: Record<string, string> = { 'X-User-Id': headerText(user) };
    if (token) headers.Authorization = `Bearer ${headerText(token)}`;
    const name = token ? `token ${subjectOf(token)}` : user;
    return { headers, memoryName: `doorbuster:${this.saleId}:${name}` };
  }

  // A purchase was sent, and nobody knows what became of it.
  get isInDoubt(): boolean {
    return isInDoubt(this.memory.read(this.buyer.memoryName));
  }

  // There is an order, which is not shown yet: a press now would be another one.
  get isFinding(): boolean {
    const isShown = this.watched === null || this.view.order?.order_id === this.watched;
    return !isShown && performance.now() - this.watchedAt < kFindMaxMs;
  }

  // The sale's state as it is by now: whoever waits for the start need not wait for the news of it.
  get saleState(): Sale['state'] | null {
    const { sale } = this.view;
    if (sale?.state !== 'scheduled') return sale?.state ?? null;
    const isStarted = this.clock.now() - this.clock.errorMs >= Date.parse(sale.starts_at);
    return isStarted ? 'open' : 'scheduled';
  }

  // ---- the sale ----

  private poll(): void {
    clearTimeout(this.pollTimer);
    if (!this.isPolling) void this.look();
  }

  // The machine may have slept, and performance.now() with it.
  private wake(): void {
    this.clock.doubt();
    this.isWoken = this.isPolling; // then that answer is of before
    this.poll();
  }

  private async look(): Promise<void> {
    this.isPolling = true;
    const leftAt = performance.now();
    const answer = await call<Sale>(`/v1/sales/${this.saleId}`);
    this.isPolling = false;
    if (answer.kind === 'ok') {
      this.clock.learn(answer.body.server_time, leftAt, performance.now());
      this.set({ sale: answer.body, isMissing: false, isOffline: false, isStarting: false });
      const isBack = answer.body.state === 'open' && !answer.body.sold_out;
      if (isBack && this.view.refusal?.code === 'sold_out') this.set({ refusal: null });
    } else if (answer.kind === 'silence') {
      this.set({ isOffline: true });
    } else {
      const code = answer.problem.code;
      this.set({
        isOffline: false,
        isMissing: code === 'not_found' || code === 'invalid_request',
        isStarting: answer.problem.status === 503,
      });
    }
    this.pollTimer = setTimeout(() => this.poll(), this.isWoken ? 0 : this.pollAfter());
    this.isWoken = false;
  }

  // Each page asks rarely, and no two at the same time; after the start of the sale spread over two
  // seconds, in which the buyers have better things to send.
  private pollAfter(): number {
    const { sale, isOffline } = this.view;
    const spread = 0.75 + Math.random() / 2;
    if (isOffline || !sale) return 2_000 * spread;
    if (document.visibilityState === 'hidden') return 60_000 * spread;
    if (sale.state === 'scheduled') {
      const wait = Date.parse(sale.starts_at) - this.clock.now();
      return Math.min(Math.max(wait, 0) + 500 + 1_500 * Math.random(), 20_000 * spread);
    }
    return (sale.state === 'closed' ? 30_000 : sale.sold_out ? 5_000 : 2_000) * spread;
  }

  // ---- the purchase ----

  // After a reload: the order that exists, or the answer that never came.
  private async resume(): Promise<void> {
    const wish = this.memory.read(this.buyer.memoryName);
    if (wish.orderId) {
      this.watch(wish.orderId);
    } else if (wish.key && wish.pressedAt && isFresh(wish, Date.now())) {
      await this.send(wish.key, wish.pressedAt, true);
    }
  }

  // The one button.
  async buy(): Promise<void> {
    const { isSending, order, rest } = this.view;
    if (isSending || (rest && rest.until > performance.now())) return;
    if (this.isFinding || (order && !isLost(order))) return;
    this.set({ isSending: true, isRetrying: false });
    const { buyer } = this;
    const made = newKey();
    const pressedAt = Date.now();
    let before: Wish = {};
    const { watched } = this;
    const wish = await this.memory.change(buyer.memoryName, (found) => {
      before = found;
      const isNews = found.orderId !== undefined && found.orderId !== watched;
      return isNews ? found : pressed(found, pressedAt, made);
    });
    if (this.buyer !== buyer) return;
    if (wish.orderId) {
      // Another tab was faster.
      this.set({ isSending: false });
      this.watch(wish.orderId);
      return;
    }
    this.unwatch();
    this.set({ order: null });
    await this.send(wish.key ?? made, pressedAt, isInDoubt(before));
  }

  // `isDoubted`: it was sent before, and had no answer.
  private async send(key: string, pressedAt: number, isDoubted: boolean): Promise<void> {
    const { buyer } = this;
    const isMine = () => this.buyer === buyer;
    this.set({ isSending: true, isRetrying: false, refusal: null, rest: null, notice: null });
    for (let tries = 0; isFresh({ key, pressedAt }, Date.now()); tries += 1) {
      const answer = await call<Order>(`/v1/sales/${this.saleId}/purchases`, {
        method: 'POST',
        body: { quantity: 1 },
        headers: { ...buyer.headers, 'Idempotency-Key': key },
      });
      const verdict = judge(answer, isDoubted);
      await this.memory.change(buyer.memoryName, (wish) => after(wish, key, verdict));
      if (!isMine()) return; // it is written down, for when that buyer comes back
      this.say(verdict, answer);
      if (verdict.is !== 'unknown') break;
      isDoubted = true;
      this.set({ isRetrying: true });
      const usual = kRetryMs[Math.min(tries, kRetryMs.length - 1)] ?? 8_000;
      const wait = Math.min(verdict.retryAfterMs ?? usual, kRetryMaxMs);
      await pause(wait * (0.75 + Math.random() / 2));
      if (!isMine()) return;
    }
    this.set({ isSending: false, isRetrying: false });
    this.poll();
  }

  // Shows what an answer means.
  private say(verdict: Verdict, answer: Answer<Order>): void {
    this.set({ isOffline: answer.kind === 'silence' });
    if (verdict.is !== 'unknown') this.set({ signIn: null });
    const problem = answer.kind === 'problem' ? answer.problem : null;
    switch (verdict.is) {
      case 'unknown':
        return;
      case 'ordered':
        this.watch(verdict.orderId);
        if (answer.kind === 'ok') {
          const unknown = { expires_at: null, paid_at: null, payment_ref: null, version: 0 };
          this.show({ ...unknown, ...answer.body }); // the 202 is the order's first word
        }
        return;
      case 'nobody':
        this.set({ signIn: signInFor(problem?.detail) });
        return;
      case 'over':
        if (verdict.orderId) this.watch(verdict.orderId);
        this.set({ refusal: problem });
        return;
      case 'refused': {
        const until = performance.now() + (verdict.retryAfterMs ?? kRestMs);
        if (verdict.rest) this.set({ rest: { until, reason: verdict.rest } });
        else this.set({ refusal: problem });
      }
    }
  }

  // The rest is over.
  rested(): void {
    this.set({ rest: null });
  }

  // ---- the order ----

  private unwatch(): void {
    this.closeOrderStream?.();
    this.closeOrderStream = null;
    this.watched = null;
  }

  private watch(orderId: string): void {
    if (this.watched === orderId) return;
    this.unwatch();
    this.watched = orderId;
    this.watchedAt = performance.now();
    const { buyer } = this;
    this.closeOrderStream = openStream(`/v1/orders/${orderId}/events`, {
      headers: () => buyer.headers,
      silenceMaxMs: 40_000, // the server sends a comment every 15 s
      onState: (isUp) => {
        if (isUp) this.set({ isOffline: false });
        else if (!navigator.onLine) this.set({ isOffline: true });
      },
      onRefused: (status, { detail }) => {
        if (status === 401 || status === 403) this.set({ signIn: signInFor(detail) });
        if (status !== 404) return status === 401 || status === 403;
        void this.memory.change(buyer.memoryName, (wish) => lost(wish, orderId));
        this.unwatch();
        this.set({ order: null });
        return true;
      },
      onEvent: ({ event, data }) => {
        if (event === 'status') this.show(JSON.parse(data) as Order);
      },
    });
  }

  private show(order: Order): void {
    if (order.order_id !== this.watched) return;
    const known = this.view.order;
    if (known && known.order_id === order.order_id && known.version > order.version) return;
    this.set({ order, isOffline: false });
    // The stream ends with a final status; there is nothing to come back for.
    if (isFinal(order, this.view.sale) || isLost(order)) this.closeOrderStream?.();
  }

  async pay(): Promise<void> {
    const { order, isChanging } = this.view;
    if (!order || isChanging) return;
    // The same reference however often it is pressed: paid once.
    const body = { payment_ref: `demo-${order.order_id}` };
    await this.change('pay', order, body);
  }

  async cancel(): Promise<void> {
    const { order, isChanging } = this.view;
    if (order && !isChanging) await this.change('cancel', order, undefined);
  }

  private async change(what: 'pay' | 'cancel', order: Order, body: unknown): Promise<void> {
    const { buyer } = this;
    this.set({ isChanging: what, notice: null });
    const answer = await call<Order>(`/v1/orders/${order.order_id}/${what}`, {
      method: 'POST',
      body,
      headers: buyer.headers,
    });
    if (this.buyer !== buyer) return;
    this.set({ isChanging: null });
    if (answer.kind === 'ok') {
      this.show(answer.body);
      this.poll();
    } else if (answer.kind === 'silence') {
      const verb = what === 'pay' ? 'pay' : 'cancel';
      this.set({ isOffline: true, notice: `No answer. It is safe to press ${verb} again.` });
    } else if (what === 'pay' && [401, 403].includes(answer.problem.status)) {
      const notice = 'On this server only the shop itself can book a payment.';
      this.set({ canPay: false, notice });
    } else {
      this.set({ notice: answer.problem.detail ?? answer.problem.title });
    }
  }
}
