// Server-sent events read by fetch(), because an EventSource cannot carry a header. Connects again
// after every end, at longer and longer intervals, until it is closed.

export interface StreamEvent {
  event: string;
  data: string;
}

export interface StreamOptions {
  headers: () => Record<string, string>;
  onEvent: (event: StreamEvent) => void;
  // true: connected; false: gone, and it tries again.
  onState?: (isUp: boolean) => void;
  // An answer that is no stream. True: do not come again.
  onRefused?: (status: number) => boolean;
  // Without a byte for so long the connection counts as dead.
  silenceMaxMs: number;
}

const kWaitMinMs = 500;
const kWaitMaxMs = 15_000;

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
    if (!response.ok || !response.body) {
      if (options.onRefused?.(response.status)) isClosed = true;
      return;
    }
    options.onState?.(true);
    const parser = new EventParser();
    const text = new TextDecoder();
    const reader = response.body.getReader();
    while (!isClosed) {
      const { done, value } = await reader.read();
      if (done) return;
      expectBytes();
      waitMs = kWaitMinMs;
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
      const pause = waitMs * (0.5 + Math.random());
      waitMs = Math.min(waitMs * 2, kWaitMaxMs);
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
