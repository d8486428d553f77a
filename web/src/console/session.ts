// Who the operator is: the admin token, for this tab only, and the calls that carry it.
import { type Answer, type Call, call, headerText } from '../common/api';

const kName = 'doorbuster:admin-token';

let token = '';
try {
  token = sessionStorage.getItem(kName) ?? '';
} catch {
  // Then it is asked for after every reload.
}

export function signIn(given: string): void {
  token = given;
  try {
    if (given) sessionStorage.setItem(kName, given);
    else sessionStorage.removeItem(kName);
  } catch {
    // As above.
  }
}

export function hasToken(): boolean {
  return token !== '';
}

export function adminHeaders(): Record<string, string> {
  return token ? { Authorization: `Bearer ${headerText(token)}` } : {};
}

export function admin<T>(path: string, options: Call = {}): Promise<Answer<T>> {
  return call<T>(path, { ...options, headers: { ...adminHeaders(), ...options.headers } });
}

// What went wrong, in one sentence.
export function reason(answer: Exclude<Answer<unknown>, { kind: 'ok' }>): string {
  if (answer.kind === 'silence')
    return 'No answer from the server. It may or may not have happened.';
  const { problem } = answer;
  return `${problem.detail ?? problem.title} (${problem.code})`;
}
