// The server's clock, as well as it can be known here: the buyer's own may be wrong by hours.

export class ServerClock {
  private offsetMs = 0;
  private bestRoundTripMs = Number.POSITIVE_INFINITY;

  // An answer that carried the server's time, and when its request left and the answer came, in
  // performance.now(). The quickest round trip tells the time best.
  learn(serverTime: string, leftAt: number, cameAt: number): void {
    const time = Date.parse(serverTime);
    const roundTrip = cameAt - leftAt;
    if (Number.isNaN(time) || roundTrip > this.bestRoundTripMs) return;
    this.bestRoundTripMs = roundTrip;
    this.offsetMs = time - (leftAt + cameAt) / 2;
  }

  get isKnown(): boolean {
    return this.bestRoundTripMs < Number.POSITIVE_INFINITY;
  }

  // Milliseconds since 1970. performance.now() goes on evenly when somebody sets the clock.
  now(): number {
    return this.isKnown ? this.offsetMs + performance.now() : Date.now();
  }
}
