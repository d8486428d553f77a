// Calls that every open console would make at the same moment, because all of them see the same
// change: each page makes its own at a moment that chance chooses, one for several changes, none
// while nobody can see the page, and later and later while the server says no.

// After so many failures it waits for the next change, or for a press of a button.
const kTriesMax = 6;
const kRetryMinMs = 5_000;
const kRetryMaxMs = 300_000;

export class Later {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isWanted = false;
  private isRunning = false;
  private isStopped = false;
  private failures = 0;

  // `work` is true when it succeeded.
  constructor(private readonly work: () => Promise<boolean>) {
    document.addEventListener('visibilitychange', this.onVisible);
  }

  // Within `spreadMs`, once, however often it is asked for meanwhile.
  soon(spreadMs: number): void {
    this.failures = 0;
    this.isWanted = true;
    if (this.timer === undefined && !this.isRunning) this.wait(spreadMs * Math.random());
  }

  // What was asked for is not needed any more. True: it had not begun.
  cancel(): boolean {
    const wasWanted = this.isWanted;
    this.isWanted = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    return wasWanted;
  }

  stop(): void {
    this.isStopped = true;
    this.cancel();
    document.removeEventListener('visibilitychange', this.onVisible);
  }

  private readonly onVisible = (): void => {
    if (!document.hidden && this.isWanted && this.timer === undefined && !this.isRunning) {
      this.wait(1_000 * Math.random());
    }
  };

  private wait(ms: number): void {
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (!document.hidden) void this.run(); // else when it is seen again
    }, ms);
  }

  private async run(): Promise<void> {
    this.isWanted = false;
    this.isRunning = true;
    const isDone = await this.work();
    this.isRunning = false;
    if (this.isStopped) return;
    this.failures = isDone ? 0 : this.failures + 1;
    if (isDone) {
      if (this.isWanted) this.wait(1_000 * Math.random());
      return;
    }
    if (this.failures >= kTriesMax) return;
    this.isWanted = true;
    const pause = Math.min(kRetryMaxMs, kRetryMinMs * 2 ** (this.failures - 1));
    this.wait(pause * (0.5 + Math.random()));
  }
}
