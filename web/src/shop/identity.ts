// Who the buyer is, for the demo: behind a real shop its gateway says so (contract: X-User-Id, or a
// Bearer token whose `sub` is the user).

const kName = 'doorbuster:user';
const kToken = 'doorbuster:token';

export interface Identity {
  user: string;
  token: string;
}

function read(storage: () => Storage, name: string): string {
  try {
    return storage().getItem(name) ?? '';
  } catch {
    return '';
  }
}

function write(storage: () => Storage, name: string, value: string): void {
  try {
    storage().setItem(name, value);
  } catch {
    // Then it lasts as long as the page.
  }
}

// ?user=ada names one; else this browser's guest, made up once.
export function whoAmI(): Identity {
  const named = new URLSearchParams(location.search).get('user')?.trim();
  let user = named || read(() => localStorage, kName);
  if (!user) {
    const bytes = crypto.getRandomValues(new Uint8Array(4));
    user = `guest-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
    write(() => localStorage, kName, user);
  }
  return { user, token: read(() => sessionStorage, kToken) };
}

export function keepUser(user: string): void {
  write(() => localStorage, kName, user);
}

// For this tab only: a token is a secret.
export function keepToken(token: string): void {
  write(() => sessionStorage, kToken, token);
}

// What a token says of its user, unchecked: it only names what this browser remembers.
export function subjectOf(token: string): string {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof claims.sub === 'string' ? claims.sub : '?';
  } catch {
    return '?';
  }
}
