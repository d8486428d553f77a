// Server-sent events read by fetch(), because an EventSource cannot carry a header. Connects again
// after every end, at longer and longer intervals, until it is closed.
import { type Problem, problemOf, retryAfter } from './api';

export interface StreamEvent {
  event: string;
  data: string;
}

export interface StreamOptions {
  headers: () => Record<string, string>;
  onEvent: (event: StreamEvent) => void;
  // true: connected; false: gone, and it tries again.
  onState?: (isUp: boolean) => void;
  // An answer that is no stream, and what it says. True: do not come again.
  onRefused?: (status: number, problem: Problem) => boolean;
  // Without a byte for so long the connection counts as dead.
  silenceMaxMs: number;
}

const kWaitMinMs = 500;
const kWaitMaxMs = 15_000;
// A stream that lasted for so long was a good one: the next wait is a short one again.
const kGoodAfterMs = 10_000;
const kRetryAfterMaxMs = 60_000; // whatever the answer says

// One event at a time out of the bytes as they come (HTML, section 9.2.6).
export class EventParser {
  private rest = '';

  push(text: string): StreamEvent[] {
    this.rest += text;
    const events: StreamEvent[] = [];
    for (let end = this.rest.indexOf('\n\n'); end >= 0; end = this.rest.indexOf('\n\n')) {
      const block = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + 2);
      let event = 'message';
      const data: string[] = [];
      for (const line of block.split('\n')) {
        if (line.startsWith('event: ')) event = line.slice(7);
        else if (line.startsWith('data: ')) data.push(line.slice(6));
      }
      if (data.length > 0) events.push({ event, data: data.join('\n') });
    }
    return events;
  }
}

// Returns how to close it.
export function openStream(path: string, options: StreamOptions): () => void {
  let isClosed = false;
  let waitMs = kWaitMinMs;
  let atLeastMs = 0; // what the last answer asked for
  let abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function expectBytes(): void {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), options.silenceMaxMs);
  }

  async function readOnce(): Promise<void> {
    abort = new AbortController();
    expectBytes();
    const response = await fetch(path, {
      headers: { Accept: 'text/event-stream', ...options.headers() },
      cache: 'no-store',
      credentials: 'omit',
      signal: abort.signal,
    });
    if (isClosed) return;
    if (!response.ok || !response.body) {
      atLeastMs = Math.min(retryAfter(response) ?? 0, kRetryAfterMaxMs);
      const problem = await problemOf(response);
      if (!isClosed && options.onRefused?.(response.status, problem)) isClosed = true;
      return;
    }
    options.onState?.(true);
    const openedAt = performance.now();
    const parser = new EventParser();
    const text = new TextDecoder();
    const reader = response.body.getReader();
    while (!isClosed) {
      const { done, value } = await reader.read();
      if (done || isClosed) return;
      expectBytes();
      if (performance.now() - openedAt > kGoodAfterMs) waitMs = kWaitMinMs;
      for (const event of parser.push(text.decode(value, { stream: true }))) {
        if (!isClosed) options.onEvent(event);
      }
    }
  }

  async function run(): Promise<void> {
    while (!isClosed) {
      try {
        await readOnce();
      } catch {
        // The connection broke; that is what the loop is for.
      }
      clearTimeout(timer);
      if (isClosed) return;
      options.onState?.(false);
      // Spread, so that a crowd that was cut off together does not come back together.
      const pause = Math.max(waitMs, atLeastMs) * (0.5 + Math.random()) + atLeastMs / 2;
      waitMs = Math.min(waitMs * 2, kWaitMaxMs);
      atLeastMs = 0;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  void run();
  return () => {
    isClosed = true;
    clearTimeout(timer);
    abort.abort();
  };
}
