// What operators did to a sale, the latest first.
import { useEffect, useState } from 'preact/hooks';
import type { Page } from '../common/api';
import { localTime } from '../common/format';
import { admin, reason } from './session';
import type { JournalEntry } from './types';

const kPagesMax = 20; // of a thousand: more than anybody did to one sale

async function readAll(sale: string): Promise<JournalEntry[] | string> {
  const entries: JournalEntry[] = [];
  let cursor: string | null = '';
  for (let page = 0; cursor !== null && page < kPagesMax; page += 1) {
    const query = new URLSearchParams({ limit: '1000' });
    if (cursor) query.set('cursor', cursor);
    const answer = await admin<Page<JournalEntry>>(`/v1/sales/${sale}/journal?${query}`);
    if (answer.kind !== 'ok') return reason(answer);
    const { items, next_cursor: next }: Page<JournalEntry> = answer.body;
    entries.push(...items);
    cursor = next;
  }
  return entries.reverse();
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

  useEffect(() => {
    let isCurrent = true;
    void readAll(sale).then((result) => {
      if (!isCurrent) return;
      setError(typeof result === 'string' ? result : null);
      if (typeof result !== 'string') setEntries(result);
    });
    return () => {
      isCurrent = false;
    };
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
