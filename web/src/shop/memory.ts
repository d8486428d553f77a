// Keeps wishes (wish.ts) where a reload and other tabs find them: one for each buyer and sale.
import type { Wish } from './wish';

// Another tab holds the lock for one step of its code; a browser that takes longer has lost it.
const kLockMaxMs = 1_000;

// One step at a time in all tabs, where the browser can do that: only on https and on loopback.
async function alone<T>(name: string, step: () => T): Promise<T> {
  const locks = navigator.locks as LockManager | undefined;
  if (!locks) return step();
  try {
    return await locks.request(name, { signal: AbortSignal.timeout(kLockMaxMs) }, () => step());
  } catch {
    return step(); // not granted, so it has not run
  }
}

export class Memory {
  // What the browser would not store: this page is then safe to press twice, a reload is not.
  private readonly unsaved = new Map<string, Wish>();

  read(name: string): Wish {
    const unsaved = this.unsaved.get(name);
    if (unsaved) return unsaved;
    try {
      const stored: unknown = JSON.parse(localStorage.getItem(name) ?? '{}');
      return stored && typeof stored === 'object' ? stored : {};
    } catch {
      return {};
    }
  }

  // Changes it; what it is afterwards.
  change<W extends Wish>(name: string, step: (wish: Wish) => W): Promise<W> {
    return alone(name, () => {
      const next = step(this.read(name));
      this.write(name, next);
      return next;
    });
  }

  private write(name: string, wish: Wish): void {
    try {
      localStorage.setItem(name, JSON.stringify(wish));
      this.unsaved.delete(name);
    } catch {
      this.unsaved.set(name, wish);
    }
  }
}
