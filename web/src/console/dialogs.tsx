// What an operator can do to a sale. Each asks first: it names the sale, and says what will happen.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Answer } from '../common/api';
import { count, localTime } from '../common/format';
import { admin, reason } from './session';
import type { SaleFigures } from './types';

export type Action = 'create' | 'pause' | 'resume' | 'restock' | 'schedule' | 'extend' | 'close';

interface DialogProps {
  title: string;
  confirm: string;
  isDanger?: boolean;
  onClose: () => void;
  // null: done.
  onConfirm: () => Promise<string | null>;
  children: ComponentChildren;
}

function Dialog({ title, confirm, isDanger, onClose, onConfirm, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);

  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    const wrong = await onConfirm();
    setBusy(false);
    setError(wrong);
    if (wrong === null) onClose();
  }

  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        {error && (
          <p class="note bad" role="alert">
            {error}
          </p>
        )}
        <div class="row end">
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" class={`primary ${isDanger ? 'danger' : ''}`} disabled={isBusy}>
            {isBusy ? 'One moment…' : confirm}
          </button>
        </div>
      </form>
    </dialog>
  );
}

// A form's fields, by name.
function useFields<T extends Record<string, string>>(start: T) {
  const [fields, setFields] = useState(start);
  const field = (name: keyof T & string) => ({
    name,
    value: fields[name],
    onInput: (event: Event) => {
      const { value } = event.currentTarget as HTMLInputElement;
      setFields((now) => ({ ...now, [name]: value }));
    },
  });
  return [fields, field] as const;
}

// What <input type="datetime-local"> takes: local time, without an offset.
function localInput(time: number): string {
  const local = new Date(time - new Date(time).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

function outcome(answer: Answer<unknown>): string | null {
  return answer.kind === 'ok' ? null : reason(answer);
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `console-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

// "Demo sale" (demo), as text.
function name(sale: SaleFigures): string {
  return `“${sale.title}” (${sale.id})`;
}

// How many units are left, in a sentence.
function left(sale: SaleFigures): string {
  if (sale.remaining === null) return 'The units that are left';
  return `The ${count(sale.remaining)} units left`;
}

interface ActionProps {
  sale: SaleFigures;
  now: number; // the server's clock
  onClose: () => void;
}

function patch(sale: SaleFigures, body: unknown) {
  return admin(`/v1/sales/${sale.id}`, { method: 'PATCH', body }).then(outcome);
}

function Pause({ sale, onClose }: ActionProps) {
  return (
    <Dialog
      title={`Pause ${name(sale)}?`}
      confirm="Pause the sale"
      onClose={onClose}
      onConfirm={() => patch(sale, { state: 'paused' })}
    >
      <p>
        Every further purchase is answered “paused”, at once. {left(sale)} stay; orders that were
        accepted stay, and can be paid.
      </p>
    </Dialog>
  );
}

function Resume({ sale, now, onClose }: ActionProps) {
  const isEarly = Date.parse(sale.starts_at) > now;
  return (
    <Dialog
      title={`Resume ${name(sale)}?`}
      confirm="Resume the sale"
      onClose={onClose}
      onConfirm={() => patch(sale, { state: 'open' })}
    >
      <p>
        {isEarly
          ? `The sale has not begun: buyers can buy from ${localTime(sale.starts_at)} on.`
          : 'Buyers can buy again, at once.'}{' '}
        {left(sale)} are for sale.
      </p>
    </Dialog>
  );
}

function Restock({ sale, onClose }: ActionProps) {
  const [fields, field] = useFields({ add: '100' });
  const [key] = useState(newKey); // pressed twice, added once
  const add = Number(fields.add);
  const isNumber = Number.isInteger(add) && add !== 0;
  return (
    <Dialog
      title={`Change the stock of ${name(sale)}?`}
      confirm={isNumber && add < 0 ? `Take ${count(-add)} units away` : `Add ${fields.add} units`}
      onClose={onClose}
      onConfirm={() =>
        admin(`/v1/sales/${sale.id}/stock`, {
          method: 'POST',
          body: { add },
          headers: { 'Idempotency-Key': key },
        }).then(outcome)
      }
    >
      <label>
        <span>Units to add (a negative number takes units away)</span>
        <input type="number" step="1" required {...field('add')} />
      </label>
      {isNumber && (
        <p>
          The stock goes from {count(sale.stock)} to {count(sale.stock + add)} units
          {sale.remaining !== null &&
            `, and ${count(Math.max(0, sale.remaining + add))} will be for sale`}
          . Units that are sold cannot be taken away.
        </p>
      )}
    </Dialog>
  );
}

function Schedule({ sale, now, onClose }: ActionProps) {
  const start = Math.max(Date.parse(sale.starts_at), now + 60_000);
  const [fields, field] = useFields({ at: localInput(start) });
  const at = new Date(fields.at);
  const isTime = !Number.isNaN(at.getTime());
  return (
    <Dialog
      title={`Move the start of ${name(sale)}?`}
      confirm="Move the start"
      onClose={onClose}
      onConfirm={() => patch(sale, { starts_at: at.toISOString() })}
    >
      <label>
        <span>Opens at (your local time)</span>
        <input type="datetime-local" step="1" required {...field('at')} />
      </label>
      {isTime && (
        <p>
          Buyers are answered “not started” until {localTime(at.toISOString())}
          {sale.state === 'open' && ', also those who could buy a moment ago'}.
        </p>
      )}
    </Dialog>
  );
}

function Extend({ sale, now, onClose }: ActionProps) {
  const from = Math.max(sale.ends_at ? Date.parse(sale.ends_at) : now, now);
  const [fields, field] = useFields({ at: localInput(from + 3_600_000) });
  const [isOpenEnd, setOpenEnd] = useState(false);
  const at = new Date(fields.at);
  const isTime = !Number.isNaN(at.getTime());
  return (
    <Dialog
      title={`Move the end of ${name(sale)}?`}
      confirm="Move the end"
      onClose={onClose}
      onConfirm={() => patch(sale, { ends_at: isOpenEnd ? null : at.toISOString() })}
    >
      <label>
        <span>Ends at (your local time)</span>
        <input
          type="datetime-local"
          step="1"
          required={!isOpenEnd}
          disabled={isOpenEnd}
          {...field('at')}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={isOpenEnd}
          onChange={(event) => setOpenEnd(event.currentTarget.checked)}
        />{' '}
        Until it is closed by hand
      </label>
      <p>
        {isOpenEnd
          ? 'The sale goes on until somebody closes it.'
          : isTime && `Buyers are answered “closed” from ${localTime(at.toISOString())} on.`}
        {sale.state === 'closed' && ' The sale ended; this opens it again.'}
      </p>
    </Dialog>
  );
}

function Close({ sale, onClose }: ActionProps) {
  return (
    <Dialog
      title={`Close ${name(sale)}?`}
      confirm="Close it for good"
      isDanger
      onClose={onClose}
      onConfirm={() => admin(`/v1/sales/${sale.id}/close`, { method: 'POST' }).then(outcome)}
    >
      <p>
        The sale ends now and <strong>cannot be opened again</strong>. {left(sale)} stay unsold. Orders
        that were accepted stay, and can be paid.
      </p>
    </Dialog>
  );
}

function minor(price: string, currency: string): number {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  return Math.round(Number(price) * 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

function slug(title: string): string {
  const plain = title.normalize('NFKD').toLowerCase();
  return plain
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63);
}

export function Create({
  onClose,
  onCreated,
}: {
  onClose: () => void;
  onCreated: (id: string) => void;
}) {
  const [fields, field] = useFields({
    title: '',
    id: '',
    stock: '1000',
    limit: '1',
    starts: '',
    ends: '',
    price: '',
    currency: 'EUR',
    timeout: '0',
  });
  const id = fields.id || slug(fields.title);
  async function create(): Promise<string | null> {
    const body: Record<string, unknown> = {
      id,
      title: fields.title,
      stock: Number(fields.stock),
      per_user_limit: Number(fields.limit),
      payment_timeout_s: Math.round(Number(fields.timeout) * 60),
    };
    if (fields.starts) body.starts_at = new Date(fields.starts).toISOString();
    if (fields.ends) body.ends_at = new Date(fields.ends).toISOString();
    if (fields.price) {
      try {
        body.price = minor(fields.price, fields.currency);
      } catch {
        return `${fields.currency} is no currency.`;
      }
      body.currency = fields.currency;
    }
    const wrong = outcome(await admin('/v1/sales', { method: 'POST', body }));
    if (wrong === null) onCreated(id);
    return wrong;
  }
  const starts = fields.starts ? `opens on ${localTime(fields.starts)}` : 'opens at once';
  return (
    <Dialog
      title="New sale"
      confirm={`Create ${id || 'the sale'}`}
      onClose={onClose}
      onConfirm={create}
    >
      <div class="fields">
        <label class="wide">
          <span>Title</span>
          <input required maxLength={200} {...field('title')} />
        </label>
        <label>
          <span>Id (in addresses)</span>
          <input
            pattern="[a-z0-9][a-z0-9\-]{0,62}"
            title="Letters a to z, digits and -, at most 63"
            placeholder={id}
            {...field('id')}
          />
        </label>
        <label>
          <span>Units</span>
          <input type="number" min="0" step="1" required {...field('stock')} />
        </label>
        <label>
          <span>Per person</span>
          <input type="number" min="1" step="1" required {...field('limit')} />
        </label>
        <label>
          <span>Minutes to pay (0: no payment step)</span>
          <input type="number" min="0" step="any" required {...field('timeout')} />
        </label>
        <label>
          <span>Opens at (empty: now)</span>
          <input type="datetime-local" step="1" {...field('starts')} />
        </label>
        <label>
          <span>Ends at (empty: open end)</span>
          <input type="datetime-local" step="1" {...field('ends')} />
        </label>
        <label>
          <span>Price (empty: none)</span>
          <input type="number" min="0" step="any" {...field('price')} />
        </label>
        <label>
          <span>Currency</span>
          <input pattern="[A-Z]{3}" title="Three letters: EUR" {...field('currency')} />
        </label>
      </div>
      <p>
        {fields.title ? `“${fields.title}”` : 'The sale'} {starts} with {fields.stock} units, for
        everybody who knows its address.
      </p>
    </Dialog>
  );
}

export function ActionDialog({ action, ...props }: ActionProps & { action: Action }) {
  switch (action) {
    case 'pause':
      return <Pause {...props} />;
    case 'resume':
      return <Resume {...props} />;
    case 'restock':
      return <Restock {...props} />;
    case 'schedule':
      return <Schedule {...props} />;
    case 'extend':
      return <Extend {...props} />;
    case 'close':
      return <Close {...props} />;
    case 'create':
      return null; // Create, which has no sale yet
  }
}
