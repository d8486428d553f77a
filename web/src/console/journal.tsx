// What operators did to a sale, the latest first.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Page } from '../common/api';
import { localTime } from '../common/format';
import { Later } from './later';
import { admin, reason } from './session';
import type { JournalEntry } from './types';

const kPage = 200;
const kPagesMax = 100; // more than anybody did to one sale
// All consoles see a change in the same half second; each reads about it within so long.
const kSpreadMs = 2_000;

// What was read: whole pages are not read again, the last one is, for there is more on it by and by.
class Pages {
  private before: JournalEntry[] = [];
  private last: JournalEntry[] = [];
  private cursor = '';

  constructor(private readonly sale: string) {}

  // What went wrong, or null.
  async read(): Promise<string | null> {
    for (let page = 0; page < kPagesMax; page += 1) {
      const query = new URLSearchParams({ limit: String(kPage) });
      if (this.cursor) query.set('cursor', this.cursor);
      const answer = await admin<Page<JournalEntry>>(`/v1/sales/${this.sale}/journal?${query}`);
      if (answer.kind !== 'ok') return reason(answer);
      const { items, next_cursor: next } = answer.body;
      this.last = items;
      if (next === null) return null;
      this.before.push(...items);
      this.last = [];
      this.cursor = next;
    }
    return null;
  }

  // The latest first.
  get entries(): JournalEntry[] {
    return [...this.before, ...this.last].reverse();
  }
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

// "stock 1000 → 1100", of what differs; of a new sale what was set.
function change(entry: JournalEntry): string {
  const before = (entry.before ?? {}) as Record<string, unknown>;
  const after = (entry.after ?? {}) as Record<string, unknown>;
  const isNew = Object.values(before).every((value) => value === null);
  return Object.keys({ ...before, ...after })
    .filter((name) => JSON.stringify(before[name] ?? null) !== JSON.stringify(after[name] ?? null))
    .map((name) => {
      const now = valueText(after[name]);
      return isNew ? `${name} ${now}` : `${name} ${valueText(before[name])} → ${now}`;
    })
    .join(', ');
}

export function Journal({ sale, changes }: { sale: string; changes: string }) {
  const [entries, setEntries] = useState<JournalEntry[]>([]);
  const [error, setError] = useState<string | null>(null);

  const later = useRef<Later | null>(null);
  const isFirst = useRef(true);

  useEffect(() => {
    const pages = new Pages(sale);
    const read = async () => {
      const wrong = await pages.read();
      if (later.current !== reader) return true; // another sale is shown
      setError(wrong);
      setEntries(pages.entries);
      return wrong === null;
    };
    const reader = new Later(read);
    later.current = reader;
    isFirst.current = true;
    setEntries([]);
    reader.soon(0);
    return () => {
      later.current = null;
      reader.stop();
    };
  }, [sale]);

  useEffect(() => {
    if (!isFirst.current) later.current?.soon(kSpreadMs);
    isFirst.current = false;
  }, [sale, changes]);

  return (
    <section class="card" aria-labelledby="journal-title">
      <h2 id="journal-title">Journal</h2>
      {error && (
        <p class="note bad" role="alert">
          {error}
        </p>
      )}
      <div class="scroll short" role="region" aria-label="Journal entries" tabIndex={0}>
        <ol class="journal">
          {entries.map((entry, i) => (
            <li key={entries.length - i}>
              <strong>{entry.what}</strong>{' '}
              <span class="quiet small">
                {localTime(entry.at)}, {entry.who}
              </span>
              <div class="small wrap">{change(entry)}</div>
            </li>
          ))}
        </ol>
        {entries.length === 0 && !error && <p class="quiet">Nothing yet.</p>}
      </div>
    </section>
  );
}
