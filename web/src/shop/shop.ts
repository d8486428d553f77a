// One buyer's way through one sale: what is known, what is under way, and what the page may say.
// The one rule behind it: a wish to buy has one idempotency key, which is written down before it is
// first sent, and is only given up when the server has clearly said no. So ten presses, a reload,
// or a network that dies half-way lead to the same order.
import { type Answer, type Order, type Problem, type Sale, call, headerText } from '../common/api';
import { ServerClock } from '../common/clock';
import { openStream } from '../common/stream';
import { subjectOf } from './identity';

// What this browser remembers of a buyer in a sale.
interface Memory {
  key?: string; // of the purchase that is under way, or was answered with `orderId`
  pressedAt?: number;
  orderId?: string;
}

// Why the button must rest for a while.
export interface Rest {
  until: number; // performance.now()
  reason: 'slow_down' | 'busy' | 'not_started' | 'paused';
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
  needsToken: boolean;
  canPay: boolean;
}

// A wish that is older was made in another mood; its key is kept, but nobody sends it unasked.
const kResumeMaxMs = 15 * 60_000;
const kRetryMs = [500, 1_000, 2_000, 4_000, 8_000];

const kFinal = new Set([
  'sold_out',
  'limit_reached',
  'closed',
  'idempotency_mismatch',
  'not_found',
]);

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

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Shop {
  readonly clock = new ServerClock();
  view: View = {
    sale: null,
    isMissing: false,
    isOffline: !navigator.onLine,
    isStarting: false,
    isSending: false,
    isRetrying: false,
    order: null,
    isChanging: null,
    rest: null,
    refusal: null,
    notice: null,
    needsToken: false,
    canPay: true,
  };
  private closeOrderStream: (() => void) | null = null;
  private watched: string | null = null;
  private pollTimer: ReturnType<typeof setTimeout> | undefined;
  private isPolling = false;

  constructor(
    readonly saleId: string,
    private user: string,
    private token: string,
    private readonly changed: () => void,
  ) {
    addEventListener('online', () => this.poll());
    addEventListener('offline', () => this.set({ isOffline: true }));
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.poll();
    });
    // Another tab has bought: it is the same buyer.
    addEventListener('storage', (event) => {
      if (event.key === this.memoryName()) void this.resume();
    });
  }

  start(): void {
    this.poll();
    void this.resume();
  }

  become(user: string, token: string): void {
    this.user = user;
    this.token = token;
    this.unwatch();
    this.set({ order: null, refusal: null, rest: null, notice: null, needsToken: false });
    void this.resume();
  }

  private set(change: Partial<View>): void {
    this.view = { ...this.view, ...change };
    this.changed();
  }

  private headers(): Record<string, string> {
    const headers: Record<string, string> = { 'X-User-Id': headerText(this.user) };
    if (this.token) headers.Authorization = `Bearer ${headerText(this.token)}`;
    return headers;
  }

  private memoryName(): string {
    return `doorbuster:${this.saleId}:${this.token ? `token ${subjectOf(this.token)}` : this.user}`;
  }

  // A purchase was sent, and nobody knows what became of it.
  get isInDoubt(): boolean {
    const memory = this.remembered();
    return memory.key !== undefined && memory.orderId === undefined;
  }

  private remembered(): Memory {
    try {
      return JSON.parse(localStorage.getItem(this.memoryName()) ?? '{}') as Memory;
    } catch {
      return {};
    }
  }

  private remember(memory: Memory): void {
    try {
      localStorage.setItem(this.memoryName(), JSON.stringify(memory));
    } catch {
      // No storage: this page alone is safe to press twice, a reload is not.
    }
  }

  // ---- the sale ----

  private poll(): void {
    clearTimeout(this.pollTimer);
    if (!this.isPolling) void this.look();
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
    this.pollTimer = setTimeout(() => this.poll(), this.pollAfter());
  }

  // Each page asks rarely, and no two at the same time; at the start of the sale soon after it.
  private pollAfter(): number {
    const { sale, isOffline } = this.view;
    const spread = 0.75 + Math.random() / 2;
    if (isOffline || !sale) return 2_000 * spread;
    if (document.visibilityState === 'hidden') return 60_000 * spread;
    if (sale.state === 'scheduled') {
      const wait = Date.parse(sale.starts_at) - this.clock.now();
      return Math.min(Math.max(wait, 0) + 300 * spread, 20_000 * spread);
    }
    return (sale.state === 'closed' ? 30_000 : sale.sold_out ? 5_000 : 2_000) * spread;
  }

  // ---- the purchase ----

  // After a reload: the order that exists, or the answer that never came.
  private async resume(): Promise<void> {
    const memory = this.remembered();
    if (memory.orderId) {
      this.watch(memory.orderId);
    } else if (memory.key && Date.now() - (memory.pressedAt ?? 0) < kResumeMaxMs) {
      await this.send(memory.key);
    }
  }

  // The one button.
  async buy(): Promise<void> {
    const { isSending, order, rest } = this.view;
    if (isSending || (rest && rest.until > performance.now())) return;
    if (order && !isLost(order)) return;
    const memory = this.remembered();
    const key = memory.key && !memory.orderId ? memory.key : newKey();
    this.remember({ key, pressedAt: Date.now() });
    this.unwatch();
    this.set({ order: null });
    await this.send(key);
  }

  private async send(key: string): Promise<void> {
    if (this.view.isSending) return;
    this.set({ isSending: true, isRetrying: false, refusal: null, rest: null, notice: null });
    for (let tries = 0; ; tries += 1) {
      const answer = await call<Order>(`/v1/sales/${this.saleId}/purchases`, {
        method: 'POST',
        body: { quantity: 1 },
        headers: { ...this.headers(), 'Idempotency-Key': key },
      });
      const again = this.settle(key, answer);
      if (again === null) break;
      const wait = again || (kRetryMs[Math.min(tries, kRetryMs.length - 1)] ?? 8_000);
      this.set({ isRetrying: true });
      await pause(wait * (0.75 + Math.random() / 2));
    }
    this.set({ isSending: false, isRetrying: false });
    this.poll();
  }

  // null: it is decided, or the buyer's turn. Else after how long to send it again, 0: as usual.
  private settle(key: string, answer: Answer<Order>): number | null {
    if (answer.kind === 'silence') {
      this.set({ isOffline: true });
      return 0;
    }
    this.set({ isOffline: false });
    if (answer.kind === 'ok') {
      this.remember({ key, orderId: answer.body.order_id });
      this.watch(answer.body.order_id);
      const unknown = { expires_at: null, paid_at: null, payment_ref: null, version: 0 };
      this.show({ ...unknown, ...answer.body }); // the 202 is the order's first word
      return null;
    }
    const { problem, retryAfterMs } = answer;
    // A unit is held for us already: only the answer is late.
    if (problem.status === 503 && problem.order_id) return retryAfterMs ?? 0;
    if (problem.code === 'unauthorized' || problem.code === 'forbidden') {
      this.set({ needsToken: true });
      return null;
    }
    const isNo = kFinal.has(problem.code) || problem.status === 400;
    if (isNo) {
      this.remember(problem.order_id ? { orderId: problem.order_id } : {});
      if (problem.order_id) this.watch(problem.order_id);
      this.set({ refusal: problem });
      return null;
    }
    const reasons: Record<string, Rest['reason']> = {
      not_started: 'not_started',
      paused: 'paused',
      rate_limited: 'slow_down',
    };
    const isLimit = problem.status === 429;
    const reason = reasons[problem.code] ?? (isLimit ? 'slow_down' : 'busy');
    this.set({ rest: { until: performance.now() + (retryAfterMs ?? 2_000), reason } });
    return null;
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
    this.closeOrderStream = openStream(`/v1/orders/${orderId}/events`, {
      headers: () => this.headers(),
      silenceMaxMs: 40_000, // the server sends a comment every 15 s
      onState: (isUp) => {
        if (isUp) this.set({ isOffline: false });
        else if (!navigator.onLine) this.set({ isOffline: true });
      },
      onRefused: (status) => {
        if (status === 401 || status === 403) this.set({ needsToken: true });
        if (status !== 404) return status === 401 || status === 403;
        this.remember({}); // of another server's data
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
    if (isLost(order)) this.remember({ orderId: order.order_id });
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
    this.set({ isChanging: what, notice: null });
    const answer = await call<Order>(`/v1/orders/${order.order_id}/${what}`, {
      method: 'POST',
      body,
      headers: this.headers(),
    });
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
