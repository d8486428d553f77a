// The server's clock, as well as it can be known here: the buyer's own may be wrong by hours.

// The time in an answer may have rested in a gateway's memory (deploy/nginx: half a second).
const kStaleMs = 600;
// Clocks drift apart, so a good sample is not good for ever.
const kSampleAgeMaxMs = 60_000;

export class ServerClock {
  private offsetMs = 0;
  private roundTripMs = Number.POSITIVE_INFINITY; // of the sample that the offset is from
  private sampledAt = 0;
  private doubtedAt = Number.NEGATIVE_INFINITY;

  // An answer that carried the server's time, and when its request left and the answer came, in
  // performance.now(). The quickest round trip tells the time best, as long as the others can be
  // right as well: if not, a clock has jumped or stood still, or the sample that is behind had
  // rested somewhere.
  learn(serverTime: string, leftAt: number, cameAt: number): void {
    const time = Date.parse(serverTime);
    if (Number.isNaN(time) || leftAt < this.doubtedAt) return;
    const roundTrip = cameAt - leftAt;
    const offset = time - (leftAt + cameAt) / 2;
    const ahead = offset - this.offsetMs;
    const tolerated = (roundTrip + this.roundTripMs) / 2;
    if (cameAt - this.sampledAt <= kSampleAgeMaxMs) {
      if (Math.abs(ahead) <= tolerated && roundTrip > this.roundTripMs) return;
      if (ahead < -tolerated && ahead >= -tolerated - kStaleMs) return;
    }
    this.roundTripMs = roundTrip;
    this.offsetMs = offset;
    this.sampledAt = cameAt;
  }

  // Time may have passed that performance.now() knows nothing of: only what is asked from now on
  // counts. Until it is answered the old offset is the best guess.
  doubt(): void {
    this.doubtedAt = performance.now();
    this.sampledAt = Number.NEGATIVE_INFINITY;
  }

  get isKnown(): boolean {
    return this.roundTripMs < Number.POSITIVE_INFINITY;
  }

  // How far off now() may be, either way.
  get errorMs(): number {
    return this.isKnown ? this.roundTripMs / 2 : 0;
  }

  // Milliseconds since 1970. performance.now() goes on evenly when somebody sets the clock.
  now(): number {
    return this.isKnown ? this.offsetMs + performance.now() : Date.now();
  }
}
