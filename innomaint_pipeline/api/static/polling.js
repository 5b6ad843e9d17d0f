/** Looks again and again, never twice at once, and not at all while the tab is hidden. */

export class Poller {
  #look;
  #waitMs;
  #timer = null;
  #isLooking = false;
  #isWantedAgain = false;
  #isOn = false;

  /** `look` is awaited; `waitMs()` tells how long to wait after it. */
  constructor(look, waitMs) {
    this.#look = look;
    this.#waitMs = waitMs;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.#timer);
      else this.soon();
    });
  }

  start() {
    this.#isOn = true;
    this.soon();
  }

  stop() {
    this.#isOn = false;
    clearTimeout(this.#timer);
  }

  /** Look now, or once more after the look under way. */
  async soon() {
    if (!this.#isOn || document.hidden) return;
    clearTimeout(this.#timer);
    if (this.#isLooking) {
      this.#isWantedAgain = true;
      return;
    }
    this.#isLooking = true;
    try {
      do {
        this.#isWantedAgain = false;
        await this.#look();
      } while (this.#isWantedAgain && this.#isOn && !document.hidden);
    } finally {
      this.#isLooking = false;
    }
    if (this.#isOn && !document.hidden) this.#timer = setTimeout(() => this.soon(), this.#waitMs());
  }
}
