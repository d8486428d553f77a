// A buyer's wish for a unit of a sale: what a browser remembers of it, and the rules by which that
// changes. Pure: memory.ts keeps it, shop.ts acts on it.
//
//   nothing    {}                    no wish, or one that ended in a no for good
//   in doubt   { key, pressedAt }    sent, or about to be: nobody knows what became of it
//   refused    { key, isRefused }    a no for now: there is no order
//   ordered    { key?, orderId }     there is one, whatever its status is by now
//
// A key is made by a press that finds nothing or an order, and written down before it is first
// sent. It is kept through doubt and refusals, so that all these tries lead to the same order, and
// given up only for an order or a no for good. A wish in doubt is sent again unasked, for a while;
// one that was refused waits for the buyer: who wanted it in a paused sale may not want it later.
import type { Answer, Order, Problem } from '../common/api';

export interface Wish {
  key?: string;
  pressedAt?: number; // Date.now()
  isRefused?: boolean;
  orderId?: string;
}

export type Reason = 'slow_down' | 'busy' | 'not_started' | 'paused';

// What an answer says of the wish.
export type Verdict =
  | { is: 'ordered'; orderId: string }
  | { is: 'unknown'; retryAfterMs: number | null }
  | { is: 'refused'; rest: Reason | null; retryAfterMs: number | null }
  | { is: 'over'; orderId: string | null }
  | { is: 'nobody'; isDoubted: boolean }; // who is asking?

// A wish that is older was made in another mood; its key is kept, but nobody sends it unasked.
export const kUnaskedMaxMs = 15 * 60_000;

const kForGood = new Set([
  'sold_out',
  'limit_reached',
  'closed',
  'idempotency_mismatch',
  'not_found',
  'invalid_request',
]);

export function isInDoubt(wish: Wish): boolean {
  return wish.key !== undefined && !wish.isRefused && wish.orderId === undefined;
}

// Whether it may be sent again unasked. A clock that was set back makes it too old.
export function isFresh(wish: Wish, now: number): boolean {
  const age = now - (wish.pressedAt ?? Number.NaN);
  return isInDoubt(wish) && age >= 0 && age < kUnaskedMaxMs;
}

// The button was pressed. (Not if there is an order that the page has not shown yet.)
export function pressed(wish: Wish, now: number, newKey: string): Wish & { key: string } {
  return { key: wish.orderId === undefined ? (wish.key ?? newKey) : newKey, pressedAt: now };
}

// `isDoubted`: an earlier try with the same key had no answer.
export function judge(answer: Answer<Order>, isDoubted: boolean): Verdict {
  if (answer.kind === 'silence') return { is: 'unknown', retryAfterMs: null };
  if (answer.kind === 'ok') {
    const orderId: unknown = answer.body?.order_id; // a gateway may have its own idea of a yes
    return typeof orderId === 'string'
      ? { is: 'ordered', orderId }
      : { is: 'unknown', retryAfterMs: null };
  }
  return judgeProblem(answer.problem, answer.retryAfterMs, isDoubted);
}

function judgeProblem(problem: Problem, retryAfterMs: number | null, isDoubted: boolean): Verdict {
  const { code, status } = problem;
  if (kForGood.has(code) || status === 400) {
    return { is: 'over', orderId: problem.order_id ?? null };
  }
  // doorbuster looks for the key before it says one of these, so there is no order.
  if (code === 'not_started' || code === 'paused') {
    return { is: 'refused', rest: code, retryAfterMs };
  }
  if (code === 'lost_race') return { is: 'refused', rest: null, retryAfterMs };
  if (status === 401 || status === 403) return { is: 'nobody', isDoubted };
  // A no to this try alone, perhaps from a gateway that knows nothing of the one before. (The
  // status of `rate_limited` is a setting of the server.)
  const isLimit = code === 'rate_limited' || status === 429;
  const isBusy = code === 'overloaded' && !problem.order_id; // else a unit is held for us
  if ((isLimit || isBusy) && !isDoubted) {
    return { is: 'refused', rest: isLimit ? 'slow_down' : 'busy', retryAfterMs };
  }
  // Any other answer from 500 on, and 408, may have come after the order: no answer at all.
  if (isLimit || status >= 500 || status === 408 || isDoubted) {
    return { is: 'unknown', retryAfterMs };
  }
  return { is: 'refused', rest: null, retryAfterMs };
}

// What is remembered after the verdict on `key`. Another tab may have gone further in the meantime:
// a wish with another key is not touched, and an order is not forgotten.
export function after(wish: Wish, key: string, verdict: Verdict): Wish {
  if (wish.key !== undefined && wish.key !== key) return wish;
  if (verdict.is === 'ordered') return { key, orderId: verdict.orderId };
  if (wish.key === undefined || wish.orderId !== undefined) return wish;
  switch (verdict.is) {
    case 'unknown':
      return wish;
    case 'refused':
      return { key, isRefused: true };
    case 'nobody':
      return verdict.isDoubted ? wish : { key, isRefused: true };
    case 'over':
      return verdict.orderId === null ? {} : { orderId: verdict.orderId };
  }
}

// The server does not know the order, which was of other data. Should it turn up after all, the
// same key finds it.
export function lost(wish: Wish, orderId: string): Wish {
  if (wish.orderId !== orderId) return wish;
  return wish.key === undefined ? {} : { key: wish.key, isRefused: true };
}
